"""The running service: the console script in a process of its own, one for each variant that the recordings name.

All variants share one embedded Postgres, each with a schema of its own, and run the bot of the recordings, whose
action server and callback they share as well. Each publishes its log to a file.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.contract.transcripts import DATA
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contract.action_server import Around

TOKEN: Final = "s3cr3t-token"
PROJECT: Final = "anchor"  #: the name of the project's folder

_BOT: Final = DATA / "bot"
_STORIES: Final = ("data/stories.yml", "data/rules.yml")
_NLU: Final = ("data/nlu.yml",)
_BOT_DOMAIN: Final = (_BOT / "domain.yml").read_text()
_SHORT_DOMAIN: Final = _BOT_DOMAIN.replace("expiration_time: 60", "expiration_time: 0.02").replace(
    "carry_over_slots_to_new_session: true", "carry_over_slots_to_new_session: false"
)
_ENDPOINTS: Final = "event_broker:\n  type: file\n  path: published.jsonl\naction_endpoint:\n  url: {around.actions}\n"
_CREDENTIALS: Final = "rest:\ncallback:\n  url: {around.callback}\n"
_JWT: Final = ("--jwt-secret", "jwt-s3cr3t-0123456789-0123456789-abc")
OLD_BOTS: Final = DATA.parent.parent / "data/old_bots"
_OLD_TOKEN: Final = ("--auth-token", "thisismysecret")
_OLD_JWT: Final = ("--jwt-secret", "thisismysecret")


class Variant(Struct, frozen=True):
    """Flags of the command line, and the bot's project: its domain, and its training data, or where it all lies."""

    flags: tuple[str, ...] = ("--enable-api",)
    domain: str = _BOT_DOMAIN
    data: tuple[str, ...] = (*_STORIES, *_NLU)
    model: Path | None = None


def _older(bot: str, *flags: str) -> Variant:
    """A variant that speaks the older protocol."""
    return Variant(("--enable-api", "--protocol", "0.9", *flags), model=OLD_BOTS / bot)


VARIANTS: Final = {
    "noauth": Variant(),
    "token": Variant(("--enable-api", "--auth-token", TOKEN)),
    "jwt": Variant(("--enable-api", *_JWT)),
    "cors_list": Variant(("--enable-api", "--cors", "http://a.example", "http://b.example")),
    "noapi": Variant(()),
    "short": Variant(domain=_SHORT_DOMAIN),
    "coreonly": Variant(data=_STORIES),
    "nluonly": Variant(domain='version: "3.1"\n', data=_NLU),
    "crash": Variant(),
    "rasa_core_0_9": _older("remote"),
    "rasa_core_0_9_token": _older("remote", *_OLD_TOKEN),
    "rasa_core_0_9_cors": _older("remote", "--cors", "http://a.example", "http://b.example"),
    "rasa_core_0_9_load": _older("remote"),
    "rasa_core_0_9_local": _older("local"),
    "rasa_core_0_9_nlu": _older("nlu"),
    "rasa_core_0_9_nomodel": _older("none"),
    "rasa_core_0_11_jwt": Variant(("--enable-api", *_OLD_JWT), model=OLD_BOTS / "local"),
    "rasa_core_0_11_both": Variant(("--enable-api", *_OLD_TOKEN, *_OLD_JWT), model=OLD_BOTS / "local"),
}


class Running(Struct, frozen=True):
    """A service at work: where it serves, and the file that has each event of its log as a line."""

    port: int
    published: Path


@contextlib.contextmanager
def running(name: str, folder: Path, around: Around) -> Iterator[Running]:
    """The service of a variant for as long as the context lasts. `folder` and `around` are shared by all variants."""
    variant = VARIANTS[name]
    home = folder / name
    project = variant.model or _written_project(home / PROJECT, variant)
    home.mkdir(exist_ok=True)
    (home / "endpoints.yml").write_text(_ENDPOINTS.format(around=around))
    (home / "credentials.yml").write_text(_CREDENTIALS.format(around=around))
    flags: list[str | Path] = [*variant.flags, "-i", "127.0.0.1", "-m", project]
    schema = {"POSTGRESQL_SCHEMA": f"contract_{name}"}
    with Service(home, flags, environment=schema, data_dir=folder / "postgres") as service:
        service.wait_until_ready()
        yield Running(service.port, home / "published.jsonl")
    assert service.status() == 0, f"the service {name} stopped with status {service.status()}"


def _written_project(folder: Path, variant: Variant) -> Path:
    """The bot as the variant has it."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "domain.yml").write_text(variant.domain)
    for file in ("config.yml", *variant.data):
        shutil.copy(_BOT / file, folder / file)
    return folder
