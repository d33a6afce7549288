"""The running service: the console script in a process of its own, one for each variant that the recordings name.

All variants share one embedded Postgres, each with a schema of its own, and run the bot of the recordings. Each
publishes its log to a file.
"""

from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from tests.contract.transcripts import DATA
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN: Final = "s3cr3t-token"

_BOT_DOMAIN: Final = (DATA / "bot" / "domain.yml").read_text()
_SHORT_DOMAIN: Final = _BOT_DOMAIN.replace("expiration_time: 60", "expiration_time: 0.02").replace(
    "carry_over_slots_to_new_session: true", "carry_over_slots_to_new_session: false"
)
_ENDPOINTS: Final = "event_broker:\n  type: file\n  path: published.jsonl\n"
_JWT: Final = ("--jwt-secret", "jwt-s3cr3t-0123456789-0123456789-abc")


class Variant(Struct, frozen=True):
    """Flags of the command line, and the model: the name of its archive, and its domain."""

    flags: tuple[str, ...] = ("--enable-api",)
    archive: str = "anchor.tar.gz"
    domain: str = _BOT_DOMAIN


VARIANTS: Final = {
    "noauth": Variant(),
    "token": Variant(("--enable-api", "--auth-token", TOKEN)),
    "jwt": Variant(("--enable-api", *_JWT)),
    "cors_list": Variant(("--enable-api", "--cors", "http://a.example", "http://b.example")),
    "noapi": Variant(()),
    "short": Variant(domain=_SHORT_DOMAIN),
    "coreonly": Variant(archive="core_only.tar.gz"),
    "nluonly": Variant(archive="nlu_only.tar.gz", domain='version: "3.1"\n'),
    "crash": Variant(),
}


class Running(Struct, frozen=True):
    """A service at work: where it serves, and the file that has each event of its log as a line."""

    port: int
    published: Path


@contextlib.contextmanager
def running(name: str, folder: Path) -> Iterator[Running]:
    """The service of a variant for as long as the context lasts. `folder` is shared by all variants."""
    variant = VARIANTS[name]
    home = folder / name
    home.mkdir()
    _write_archive(home / variant.archive, variant.domain)
    (home / "endpoints.yml").write_text(_ENDPOINTS)
    flags: list[str | Path] = [*variant.flags, "-i", "127.0.0.1", "-m", home / variant.archive]
    schema = {"POSTGRESQL_SCHEMA": f"contract_{name}"}
    with Service(home, flags, environment=schema, data_dir=folder / "postgres") as service:
        service.wait_until_ready()
        yield Running(service.port, home / "published.jsonl")
    assert service.status() == 0, f"the service {name} stopped with status {service.status()}"


def _write_archive(path: Path, domain: str) -> None:
    """A model as Rasa packs it, as far as the service reads it."""
    config = (DATA / "bot" / "config.yml").read_text()
    with tarfile.open(path, "w:gz") as archive:
        for name, text in (("components/domain_provider/domain.yml", domain), ("config.yml", config)):
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
