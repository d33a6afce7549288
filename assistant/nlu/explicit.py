"""Messages that say their intent themselves, as buttons do: `/inform{"city": "Rome"}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import structlog

from dialogue.json import InvalidJson, loads

if TYPE_CHECKING:
    from dialogue import Domain

Json = dict[str, Any]

log = structlog.get_logger("turnlog.nlu")

EXTRACTOR: Final = "RegexMessageHandler"
_MESSAGE: Final = re.compile(
    r"/(?P<intent>[^{@]+)(?:@(?P<confidence>[0-9.]+))?(?P<entities>\{.+\})?(?P<rest>.*)", re.DOTALL
)


def explicit(text: str, domain: Domain) -> Json | None:
    """Return the parse data of a text that names an intent of the domain; None for any other text.

    Behind the intent there may be its confidence, `@0.8`, and its entities as a JSON object of values, or of lists of
    values, by name. Entities that the domain does not know are left out.
    """
    match = _MESSAGE.match(text)
    if match is None or match["intent"].strip() not in domain.known_intents:
        return None
    if match["rest"].strip():
        log.warning("the end of a message with an explicit intent is ignored", intent=match["intent"].strip())
    intent = {"name": match["intent"].strip(), "confidence": _confidence(match["confidence"])}
    return {"text": text, "intent": intent, "entities": _entities(match, domain), "intent_ranking": [intent]}


def _confidence(given: str | None) -> float:
    if given is None:
        return 1.0
    try:
        return min(1.0, float(given))
    except ValueError:
        log.warning("the confidence of an explicit intent is no number", confidence=given[:40])
        return 0.0


def _entities(match: re.Match[str], domain: Domain) -> list[Json]:
    given = _object(match["entities"])
    unknown = given.keys() - domain.entities.keys()
    if unknown:
        log.warning("entities that the domain does not know are left out", entities=sorted(unknown)[:10])
    start, end = match.span("entities")
    return [
        {"entity": name, "value": value, "start": start, "end": end, "extractor": EXTRACTOR}
        for name, values in given.items()
        if name in domain.entities
        for value in (values if isinstance(values, list) else [values])
    ]


def _object(text: str | None) -> Json:
    if text is None:
        return {}
    try:
        value = loads(text.encode("utf-8", "surrogatepass"))
    except (InvalidJson, UnicodeDecodeError):
        value = None
    if isinstance(value, dict):
        return value
    log.warning("the entities of an explicit intent are no JSON object")
    return {}
