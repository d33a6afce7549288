"""The limit for the HTTP side: a Sanic handler that answers with given bytes. `python -m bench.handler PORT FILE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sanic import Sanic
from sanic.response import HTTPResponse

if TYPE_CHECKING:
    from sanic import Request


def main(port: int, body: str) -> None:
    """Serve until a signal comes."""
    app: Sanic[Any, Any] = Sanic("limit", configure_logging=False)

    async def answer(_request: Request, conversation_id: str) -> HTTPResponse:
        return HTTPResponse(body, content_type="application/json")

    app.add_route(answer, "/conversations/<conversation_id:path>/tracker/events", methods=["POST"], name="post")
    app.add_route(answer, "/conversations/<conversation_id:path>/tracker", name="get")
    app.run(host="127.0.0.1", port=port, single_process=True, access_log=False, motd=False)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]).read_text())
