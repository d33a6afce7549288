"""The limit for turns: a Sanic handler that commits a turn's rows, and answers with given bytes.

Requests that come while a commit is under way travel together in the next one, as they do in the service.
`python -m bench.appender PORT FOLDER FILE`, with the folder of the database that is running.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncpg
from sanic import Sanic
from sanic.response import HTTPResponse

from eventstore import embedded

if TYPE_CHECKING:
    from sanic import Request

ROWS: Final = 5  #: events of a turn
BODY: Final = "x" * 200


class _Appender:
    """Inserts over one connection."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._arrival = asyncio.Event()

    def append(self) -> asyncio.Future[None]:
        """Insert the rows of one turn; done when they are committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(done)
        self._arrival.set()
        return done

    async def run(self, dsn: str) -> None:
        """Insert what comes, until cancelled."""
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS raw_turn (id bigserial PRIMARY KEY, body text)")
        insert = await connection.prepare("INSERT INTO raw_turn (body) SELECT string_to_table($1, ' ')")
        while True:
            await self._arrival.wait()
            self._arrival.clear()
            batch, self._waiting = self._waiting, []
            await insert.fetch(" ".join([BODY] * (ROWS * len(batch))))
            for done in batch:
                if not done.done():  # its client may have gone away
                    done.set_result(None)


def main(port: int, folder: str, body: str) -> None:
    """Serve until a signal comes."""
    server = embedded.start(Path(folder))
    app: Sanic[Any, Any] = Sanic("appender", configure_logging=False)
    app.config.FALLBACK_ERROR_FORMAT = "json"
    appender = _Appender()

    async def answer(_request: Request) -> HTTPResponse:
        await appender.append()
        return HTTPResponse(body, content_type="application/json")

    async def live(_request: Request) -> HTTPResponse:
        return HTTPResponse()

    app.add_route(answer, "/webhooks/rest/webhook", methods=["POST"])
    app.add_route(live, "/livez")
    app.add_task(appender.run(server.dsn))
    app.run(host="127.0.0.1", port=port, single_process=True, access_log=False, motd=False)
    server.close()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_text())
