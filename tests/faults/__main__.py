"""The command `python -m tests.faults`; exit status 1 when a promise was broken."""

from __future__ import annotations

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults import report
from tests.faults.kills import KINDS
from tests.faults.rounds import Figures, Load, chaos


def main() -> int:
    """Run the rounds that the command line asks for."""
    options = _options()
    seed = options.seed or secrets.token_hex(4)
    print(f"seed {seed}: --seed {seed} draws the same again", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="turnlog-faults-"))
    load = Load(events=options.events, kills=options.kills, kinds=tuple(options.kind or KINDS))
    figures = asyncio.run(_run(folder, seed, options.rounds, load))
    print(report.summary(figures))
    if figures.violations:
        print(f"the data and the services' logs are in {folder}")
        return 1
    shutil.rmtree(folder)
    return 0


async def _run(folder: Path, seed: str, rounds: int, load: Load) -> Figures:
    figures = Figures()
    async with chaos(folder, seed) as run:
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
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="only this kind of fault; may be repeated")
    parser.add_argument("--events", type=int, default=Load().events, help="events of each client in a round")
    parser.add_argument("--kills", type=int, default=Load().kills, help="faults in a round")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
