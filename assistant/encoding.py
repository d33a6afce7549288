"""What an archive holds: a model as named members, and back. Nothing in it is ever executed or unpickled."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from assistant.compatibility import RASA_VERSION
from assistant.model import DialogueModel, Model
from assistant.nlu.pipeline import NluModel
from assistant.project import InvalidModel
from dialogue import Domain
from dialogue.policies.configuration import RulesConfig
from dialogue.policies.learning import RuleTable
from dialogue.policies.states import is_key

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FORMAT: Final = 1  #: of archives; one with a higher number is refused
METADATA: Final = "metadata.json"
_DOMAIN, _DIALOGUE, _NLU = "domain.json", "dialogue.json", "nlu.msgpack"
OURS: Final = frozenset({METADATA, _DOMAIN, _DIALOGUE, _NLU})

T = TypeVar("T")


class Metadata(Struct, frozen=True, kw_only=True):
    """What an archive says of itself.

    Attributes:
        turnlog_format: the format of the archive.
        trained_at: ISO 8601, in UTC.
        fingerprint: of all that the model is made of, the program included: where it is the same, nothing is trained.
        parts: "core" where it predicts, "nlu" where it understands.
    """

    turnlog_format: int
    turnlog_version: str
    rasa_version: str
    model_id: str
    assistant_id: str | None
    trained_at: str
    fingerprint: str
    parts: tuple[str, ...]


def fingerprint(model_id: str) -> str:
    """32 hex digits: with another version of the program the same project may teach something else."""
    return hashlib.sha256(f"{FORMAT} {version('turnlog')} {model_id}".encode()).hexdigest()[:32]


def members_of(model: Model) -> dict[str, bytes]:
    """Return the members of a model's archive; the same for the same model but for `trained_at`."""
    domain = asdict(model.domain) | {"sends_domain": sorted(model.domain.sends_domain)}
    members = {METADATA: msgspec.json.format(msgspec.json.encode(_metadata(model)))}
    members[_DOMAIN] = msgspec.json.encode(domain)
    if model.dialogue is not None:
        members[_DIALOGUE] = msgspec.json.encode(model.dialogue)
    return members | {_NLU: msgspec.msgpack.encode(model.nlu)}


def _metadata(model: Model) -> Metadata:
    return Metadata(
        turnlog_format=FORMAT,
        turnlog_version=version("turnlog"),
        rasa_version=RASA_VERSION,
        model_id=model.id,
        assistant_id=model.assistant_id,
        trained_at=datetime.now(UTC).isoformat(),
        fingerprint=fingerprint(model.id),
        parts=("core",) * (model.dialogue is not None) + ("nlu",) * bool(model.nlu.components),
    )


def metadata_of(members: Mapping[str, bytes]) -> Metadata | None:
    """Return what an archive says of itself; None if it is none of ours.

    Raises:
        InvalidModel: it is of a newer version, or doesn't fit.
    """
    written = _read(METADATA, members, _METADATA_OF_ANY)
    if not isinstance(written, dict) or "turnlog_format" not in written:
        return None
    number = written["turnlog_format"]
    if isinstance(number, int) and number > FORMAT:
        newer = f"its format {number} is newer than {FORMAT}, the newest that is known"
        raise InvalidModel(f"{newer}; it was made by Turnlog {written.get('turnlog_version')}")
    return _read(METADATA, members, _METADATA)


def model_of(members: Mapping[str, bytes], metadata: Metadata, file: str) -> Model:
    """Return the model that `members_of` wrote.

    Raises:
        InvalidModel: a member is missing, or holds something else.
    """
    model = Model(
        file=file,
        id=metadata.model_id,
        domain=_read(_DOMAIN, members, _DOMAIN_DECODER),
        assistant_id=metadata.assistant_id,
        dialogue=_read(_DIALOGUE, members, _DIALOGUE_DECODER) if "core" in metadata.parts else None,
        nlu=_read(_NLU, members, _NLU_DECODER),
    )
    fault = model.dialogue and _fault(model.dialogue, model.domain)
    if fault:
        raise InvalidModel(f"the member {_DIALOGUE!r} can't be used: {fault}")
    return model


def _read(name: str, members: Mapping[str, bytes], decode: Callable[[bytes], T]) -> T:
    if name not in members:
        raise InvalidModel(f"the member {name!r} is missing")
    try:
        return decode(members[name])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidModel(f"the member {name!r} can't be used: {error}") from error


def _fault(dialogue: DialogueModel, domain: Domain) -> str | None:
    """What types don't tell: policies and tables must fit each other, and tables the domain."""
    kinds = [isinstance(config, RulesConfig) for config in dialogue.configs]
    if kinds != [isinstance(table, RuleTable) for table in dialogue.tables]:
        return "its tables are not those of its policies"
    for table in dialogue.tables:
        learned = table.rules if isinstance(table, RuleTable) else table.lookup
        unknown = sorted({*learned.values()} - domain.known_actions)
        if unknown:
            return f"it predicts the action {unknown[0]!r}, which the domain does not have"
        if isinstance(table, RuleTable) and not all(map(is_key, (*table.rules, *table.unhappy))):
            return "it holds a rule that can't be read"
    return None


_METADATA_OF_ANY: Final[Callable[[bytes], Any]] = msgspec.json.Decoder().decode
_METADATA: Final = msgspec.json.Decoder(Metadata).decode
_DOMAIN_DECODER: Final = msgspec.json.Decoder(Domain).decode
_DIALOGUE_DECODER: Final = msgspec.json.Decoder(DialogueModel).decode
_NLU_DECODER: Final = msgspec.msgpack.Decoder(NluModel).decode
