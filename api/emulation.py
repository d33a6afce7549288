"""What `/model/parse` finds in a text, in the format of another NLU service, for clients that were written for it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from api.errors import BadRequest

Json = dict[str, Any]


class Emulation(Struct, frozen=True):
    """Another service's formats: how its requests hold the text, and how its answers look."""

    text_of: Callable[[Json], Any]
    answer_of: Callable[[Json], Json]


def emulation(mode: str | None) -> Emulation:
    """The formats that `emulation_mode` names; Rasa's own without it.

    Raises:
        BadRequest: there is no such mode.
    """
    found = _PLAIN if mode is None else _MODES.get(mode.upper())
    if found is None:
        raise BadRequest(
            "Invalid parameter value for 'emulation_mode'. Should be one of 'WIT', 'LUIS', 'DIALOGFLOW'.",
            "emulation_mode",
            "query",
        )
    return found


def _first(value: Any) -> Any:
    return value[0] if isinstance(value, list) and value else value


def _text(body: Json) -> Any:
    return body.get("text")


def _wit_text(body: Json) -> Any:
    return _first(body.get("text", body.get("q")))


def _luis_text(body: Json) -> Any:
    return _first(body.get("text", body.get("query")))


def _dialogflow_text(body: Json) -> Any:
    asked = (body.get("queryInput") or {}).get("text") or {}
    return _first(body.get("text", asked.get("text")))


def _wit(parsed: Json) -> Json:
    entities: dict[str, list[Json]] = {}
    for entity in parsed["entities"]:
        role = entity.get("role") or entity["entity"]
        entities.setdefault(f"{entity['entity']}:{role}", []).append(
            {
                "confidence": entity.get("confidence_entity"),
                "name": entity["entity"],
                "value": entity.get("value"),
                "body": entity.get("value"),
                "start": entity.get("start"),
                "end": entity.get("end"),
                "role": role,
                "entities": [],
            }
        )
    return {"text": parsed["text"], "intents": [parsed["intent"]], "entities": entities}


def _luis(parsed: Json) -> Json:
    instances: dict[str, list[Json]] = {}
    values: dict[str, list[Any]] = {}
    for entity in parsed["entities"]:
        key = entity.get("role") or entity["entity"]
        values.setdefault(key, []).append(entity.get("value"))
        instances.setdefault(key, []).append(_luis_instance(entity))
    name = parsed["intent"].get("name")
    ranking = parsed.get("intent_ranking") or [parsed["intent"]]
    return {
        "query": parsed["text"],
        "prediction": {
            "normalizedQuery": parsed["text"],
            "topIntent": name,
            "intents": {intent["name"]: {"score": intent.get("confidence")} for intent in ranking},
            "entities": {"$instance": instances, **values},
        },
    }


def _luis_instance(entity: Json) -> Json:
    start, end = entity.get("start"), entity.get("end")
    return {
        "role": entity.get("role"),
        "type": entity["entity"],
        "text": entity.get("value"),
        "startIndex": start,
        "length": None if start is None or end is None else end - start,
        "score": entity.get("confidence"),
        "modelType": entity.get("extractor"),
    }


def _dialogflow(parsed: Json) -> Json:
    parameters: dict[str, list[Any]] = {}
    for entity in parsed["entities"]:
        parameters.setdefault(entity["entity"], []).append(entity.get("value"))
    name = parsed["intent"].get("name")
    return {
        "responseId": str(uuid.uuid1()),
        "queryResult": {
            "queryText": parsed["text"],
            "action": name,
            "parameters": parameters,
            "fulfillmentText": "",
            "fulfillmentMessages": [],
            "outputContexts": [],
            "intent": {"name": name, "displayName": name},
            "intentDetectionConfidence": parsed["intent"].get("confidence"),
        },
    }


_PLAIN: Final = Emulation(_text, lambda parsed: parsed)
_MODES: Final[Mapping[str, Emulation]] = {
    "WIT": Emulation(_wit_text, _wit),
    "LUIS": Emulation(_luis_text, _luis),
    "DIALOGFLOW": Emulation(_dialogflow_text, _dialogflow),
}
