"""Making archives of projects, as `turnlog train` does it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from assistant.archive import newest_archive, read_metadata, save_model
from assistant.encoding import fingerprint
from assistant.project import InvalidModel, Project, read_project
from assistant.training import Parts, model_id
from dialogue import InvalidYaml, load_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.model import Model

WORDS: Final = (
    "amber", "basalt", "birch", "canyon", "cedar", "cliff", "cloud", "comet", "coral", "delta", "dune", "ember",
    "fern", "fjord", "garnet", "geyser", "glacier", "harbor", "heath", "island", "juniper", "lagoon", "lichen",
    "maple", "meadow", "mesa", "opal", "orchid", "pebble", "prairie", "quartz", "river",
)  # fmt: skip


class Order(Struct, frozen=True, kw_only=True):
    """What shall be made.

    Attributes:
        parts: what is trained.
        prefix: of the archive's name, where that is not fixed.
        out: the folder that holds archives; it need not exist.
        name: the archive's name, if it is fixed.
    """

    project: Project
    parts: Parts
    prefix: str
    out: Path
    name: str | None


def order_of(
    part: str | None,
    *,
    domain: Path | None,
    data: Sequence[Path],
    config: Path | None,
    endpoints: Path,
    out: Path,
    name: str | None,
) -> Order:
    """Return what is asked for: `part` is "nlu", "core", or None for both. Paths that are None are the usual ones.

    Where `endpoints` names an NLU server, the pipeline is its business: then only the policies are trained.

    Raises:
        InvalidModel: a file can't be read, or there is no training data.
    """
    project = read_project(Path(), domain=domain, data=data, config=config)
    if not project.data:
        raise InvalidModel(f"there is no training data in {', '.join(map(str, data)) or 'data'}; name it with --data")
    parts = Parts(part or "both")
    if parts is Parts.BOTH and _has_nlu_server(endpoints):
        parts = Parts.CORE
    return Order(project=project, parts=parts, prefix=f"{part}-" if part else "", out=out, name=name)


def _has_nlu_server(endpoints: Path) -> bool:
    """Whether the file has a section `nlu`. Its variables need not be set where a model is trained."""
    try:
        value = load_yaml(endpoints.read_text("utf-8"), str(endpoints))
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidModel(f"{endpoints}: can't be read: {error}") from error
    except InvalidYaml as error:
        raise InvalidModel(str(error)) from error
    return isinstance(value, dict) and bool(value.get("nlu"))


def current(order: Order) -> Path | None:
    """Return the archive that is there already: of the name, or else the newest, if it was made of the same files.

    One that can't be read is none: a sound one is to take its place.
    """
    archive = newest_archive(order.out) if order.name is None else order.out / _file_name(order.name)
    try:
        metadata = read_metadata(archive) if archive and archive.is_file() else None
    except InvalidModel:
        return None
    wanted = fingerprint(model_id(order.project, order.parts))
    return archive if metadata is not None and metadata.fingerprint == wanted else None


def save(order: Order, model: Model) -> Path:
    """Write the archive, and return its path.

    Raises:
        InvalidModel: it is too large.
        OSError: it can't be written.
    """
    path = order.out / _file_name(order.name or order.prefix + new_name(model.id))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(model, path)
    return path


def new_name(model_id: str) -> str:
    """The name of an archive that is made now, without its suffix; its word is the same for the same project."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{WORDS[int(model_id, 16) % len(WORDS)]}"


def _file_name(name: str) -> str:
    return name if name.endswith((".tar.gz", ".zip")) else f"{name}.tar.gz"
