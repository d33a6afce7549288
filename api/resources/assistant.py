"""What needs an assistant: messages, intents, actions and predictions of a conversation, and of a model by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import dialogue
from api import requests
from api.emulation import emulation
from api.endpoint import json_response
from api.errors import ApiError, BadRequest, ConversationNotFound, NoModel, Unexpected
from api.resources.tracker import shown_after
from assistant import Collector, Message, Scene, UnknownAction
from dialogue import InvalidEvent, decode_posted
from dialogue.json import dumps
from eventstore import EventStoreError
from projections import Verbosity, tracker_document, written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sanic import HTTPResponse, Request

    from api.service import Service
    from assistant import Outcome, Output
    from dialogue.policies.prediction import Prediction

Json = dict[str, Any]

NO_MESSAGE: Final = (
    "No message defined in request body. Add a message to the request body in order to add it to the tracker."
)
NO_TEXT: Final = (
    "No text message defined in request_body. Add text message to request body in order to obtain the intent and "
    "extracted entities."
)
LATEST: Final = "latest"


async def need_model_file(_service: Service, _request: Request) -> HTTPResponse:
    """Models are not made or exchanged over HTTP yet."""
    raise NoModel


async def post_message(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Take a user's message in, with the slots that it fills, and leave the answer to a later request."""
    body, verbosity = _body(request, NO_MESSAGE), requests.verbosity(request)
    _refuse_other_senders(body)
    message = Message(conversation=conversation, text=_text_of(body), parse_data=_parse_data_of(body))
    outcome = await service.uninterrupted(service.assistant().take_in(message, Collector()))
    return json_response(await _state(service, conversation, outcome, verbosity))


async def post_execute(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Run an action of the bot as if it had been predicted."""
    body, verbosity = _body(request), requests.verbosity(request)
    name = _name_of(body, "action")
    output = await _output(service, request, conversation)
    work = service.assistant().execute(
        conversation, name, _text_or_none(body, "policy"), _number(body, "confidence"), output
    )
    try:
        outcome = await service.uninterrupted(work)
    except UnknownAction as error:
        raise Unexpected(str(error)) from error
    return await _with_messages(service, conversation, outcome, verbosity, output)


async def post_trigger_intent(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Answer as if a message with this intent had come."""
    body, verbosity = _body(request), requests.verbosity(request)
    name = _name_of(body, "intent")
    assistant = service.assistant()
    if name not in service.loaded_model().domain.known_intents:
        raise ApiError(404, "NotFound", f"The intent {name} does not exist in the domain.")
    output = await _output(service, request, conversation)
    entities = entities_of(body.get("entities"))
    outcome = await service.uninterrupted(assistant.trigger(conversation, name, entities, output))
    return await _with_messages(service, conversation, outcome, verbosity, output)


async def post_predict(service: Service, _request: Request, conversation: str) -> HTTPResponse:
    """The next action of a conversation. Nothing is written, and no followup is used up."""
    assistant = service.predicting_assistant()
    reading = await service.ledger.read(conversation)
    if not reading.tracker.version:
        raise ConversationNotFound
    scene = Scene(
        sender=conversation,
        channel=Collector().name,
        domain=service.loaded_model().domain,
        tracker=reading.tracker,
        events=reading.events,
    )
    prediction, scene = assistant.predict(scene)
    scores = sorted(_scores(service, prediction), key=lambda item: (-item["score"], item["action"]))
    return json_response(_prediction(prediction, scores, scene, "AFTER_RESTART"))


async def post_model_predict(service: Service, request: Request) -> HTTPResponse:
    """The next action of a conversation that consists of the posted events."""
    assistant, domain = service.predicting_assistant(), service.loaded_model().domain
    verbosity = requests.verbosity(request)
    try:
        events = tuple(decode_posted(request.body, time.time()))
    except InvalidEvent as error:
        raise BadRequest(f"Supplied events are not valid. {error.message}", "", "body") from error
    tracker = dialogue.fold(dialogue.initial(domain), events, domain, ())
    scene = Scene(
        sender=requests.DEFAULT_CONVERSATION, channel=Collector().name, domain=domain, tracker=tracker, events=events
    )
    prediction = assistant.predict_here(scene)
    return json_response(_prediction(prediction, _scores(service, prediction), scene, verbosity))


async def post_model_parse(service: Service, request: Request) -> HTTPResponse:
    """What a text means, in Rasa's format, or in the one of another service."""
    formats = emulation(requests.query(request, "emulation_mode"))
    text = formats.text_of(_body(request, NO_TEXT))
    if not isinstance(text, str):
        raise BadRequest("The text of the message is missing, or is no text.", "text", "body")
    try:
        parsed = await service.assistant().parse(text)
    except EventStoreError:
        raise
    except Exception as error:
        raise Unexpected(str(error), "ParsingError") from error
    return json_response(dumps(formats.answer_of(parsed)))


# --- bodies -----------------------------------------------------------------------------------------------------------


def _body(request: Request, missing: str = "The request has no body; it must be a JSON object.") -> Json:
    if not request.body:
        raise BadRequest(missing)
    value = dialogue.loads(request.body)
    if value is None:
        raise BadRequest(missing)
    if not isinstance(value, dict):
        raise BadRequest("The request's body must be a JSON object.", "", "body")
    return value


def _refuse_other_senders(body: Json) -> None:
    sender = body.get("sender")
    if sender != "user":
        message = (
            "Currently, only user messages can be passed to this endpoint. "
            f"Messages of sender '{sender}' cannot be handled."
        )
        raise BadRequest(message, "sender", "body")


def _text_of(body: Json) -> str | None:
    text = body.get("text")
    if isinstance(text, str):
        return text.strip()
    if text is None and body.get("parse_data"):
        return None
    raise BadRequest("The text of the message is missing, or is no text.", "text", "body")


def _parse_data_of(body: Json) -> Json | None:
    parse_data = body.get("parse_data")
    if not parse_data:
        return None
    if not isinstance(parse_data, dict) or not {"intent", "entities"} <= parse_data.keys():
        raise BadRequest("parse_data must be an object with 'intent' and 'entities'.", "parse_data", "body")
    event = {"event": "user", "text": body.get("text"), "parse_data": parse_data}
    dialogue.from_wire(event, 0.0)  # as strictly as a posted event
    return parse_data


def _name_of(body: Json, kind: str) -> str:
    name = body.get("name")
    if not name or not isinstance(name, str):
        raise BadRequest(f"Name of the {kind} not provided in request body.", "name", "body")
    return name


def _text_or_none(body: Json, key: str) -> str | None:
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadRequest(f"{key!r} must be text.", key, "body")
    return value


def _number(body: Json, key: str) -> float:
    value = body.get(key) or 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadRequest(f"{key!r} must be a number.", key, "body")
    return value


def entities_of(given: Any) -> list[Json]:
    """The entities of a triggered intent: as a list of entities, or short as an object of values by name."""
    if isinstance(given, dict):
        return [{"entity": name, "value": value} for name, value in given.items()]
    if not isinstance(given, list):
        return []
    return [entity for entity in given if isinstance(entity, dict) and isinstance(entity.get("entity"), str)]


# --- answers ----------------------------------------------------------------------------------------------------------


async def _output(service: Service, request: Request, conversation: str) -> Output:
    name = requests.query(request, "output_channel")
    if name == LATEST:
        name = (await service.ledger.read(conversation)).tracker.latest_input_channel
    return service.channels.output(name) or Collector()


async def _state(service: Service, conversation: str, outcome: Outcome, verbosity: Verbosity) -> str:
    with written():
        view = await service.trackers.at_version(conversation, outcome.version)
        assert view is not None  # the log has acknowledged that version
        after = await shown_after(service, view, outcome.base)
        return await tracker_document(service.trackers, view, verbosity, after)


async def _with_messages(
    service: Service, conversation: str, outcome: Outcome, verbosity: Verbosity, output: Output
) -> HTTPResponse:
    state = await _state(service, conversation, outcome, verbosity)
    messages = f',"messages":{dumps(output.messages)}' if isinstance(output, Collector) else ""
    return json_response(f'{{"tracker":{state}{messages}}}')


def _scores(service: Service, prediction: Prediction) -> list[Json]:
    names: Iterable[str] = service.loaded_model().domain.action_names
    return [{"action": name, "score": score} for name, score in zip(names, prediction.scores, strict=True)]


def _prediction(prediction: Prediction, scores: list[Json], scene: Scene, verbosity: Verbosity) -> str:
    head = dumps({"scores": scores, "policy": prediction.policy, "confidence": prediction.confidence})
    return f'{head[:-1]},"tracker":{scene.document(verbosity)}}}'
