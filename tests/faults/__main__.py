"""The command `python -m tests.faults`; exit status 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults import report
from tests.faults.brokers import KINDS as BROKER_KINDS
from tests.faults.kills import KINDS
from tests.faults.rounds import Figures, Load, chaos
from tests.kafka import Kafka
from tests.rabbitmq import RabbitMQ

if TYPE_CHECKING:
    from collections.abc import Iterator


def main() -> int:
    """Run the rounds that the command line asks for."""
    options = _options()
    seed = options.seed or secrets.token_hex(4)
    print(f"seed {seed}: --seed {seed} draws the same again", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="turnlog-faults-"))
    kinds = options.kind or ([*KINDS, *BROKER_KINDS] if options.brokers else [*KINDS])
    load = Load(events=options.events, kills=options.kills, kinds=tuple(kinds))
    with _servers(folder, options.brokers or bool({*kinds} & {*BROKER_KINDS})) as servers:
        figures = asyncio.run(_run(folder, seed, options.rounds, load, servers))
    print(report.summary(figures))
    if figures.violations:
        print(f"the data and the services' logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


@contextlib.contextmanager
def _servers(folder: Path, wanted: bool) -> Iterator[tuple[RabbitMQ, Kafka] | None]:
    """A RabbitMQ and a Kafka of our own, if they are wanted."""
    if not wanted:
        yield None
        return
    with contextlib.ExitStack() as stack:
        rabbitmq = stack.enter_context(contextlib.closing(RabbitMQ.start(folder / "rabbitmq")))
        kafka = stack.enter_context(contextlib.closing(Kafka.start(folder / "kafka")))
        yield rabbitmq, kafka


async def _run(folder: Path, seed: str, rounds: int, load: Load, servers: tuple[RabbitMQ, Kafka] | None) -> Figures:
    figures = Figures()
    async with chaos(folder, seed, servers=servers) as run:
        calm = await run.round(0, Load(events=load.events, kills=0))
        print("two services and nothing killed,", report.distribution(calm.latencies), flush=True)
        figures.violations += calm.violations
        for number in range(1, rounds + 1):
            began = time.monotonic()
            one = await run.round(number, load)
            print(report.round_line(number, one, time.monotonic() - began), flush=True)
            figures.add(one)
        print("under faults,", report.distribution(figures.latencies))
        figures.violations += [f"in the whole log: {violation}" for violation in await run.check_all()]
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", help="draw the same clients and faults as a run that printed this")
    parser.add_argument(
        "--kind", action="append", choices=[*KINDS, *BROKER_KINDS], help="only this kind of fault; may be repeated"
    )
    parser.add_argument("--brokers", action="store_true", help="publish to RabbitMQ and Kafka, and kill these as well")
    parser.add_argument("--events", type=int, default=Load().events, help="events of each client in a round")
    parser.add_argument("--kills", type=int, default=Load().kills, help="faults in a round")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
