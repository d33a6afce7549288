"""What needs an assistant: messages, intents, actions and predictions of a conversation, and of a model by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import dialogue
from api import requests
from api.emulation import emulation
from api.endpoint import json_response
from api.errors import ApiError, BadRequest, ConversationNotFound, Unexpected
from api.resources.tracker import NO_BODY, headers_of, shown_after, terms_of
from api.side_effects import output_of
from assistant import AlreadyDone, Collector, Message, Outcome, Scene, UnknownAction
from assistant.channels import callback
from assistant.channels.output import Overheard
from assistant.messages import messages_of
from dialogue import BotUttered, UserUttered, decode_posted
from dialogue.json import dumps
from eventstore import EventStoreError
from projections import Verbosity, tracker_document, written

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from sanic import HTTPResponse, Request

    from api.service import Service
    from assistant import Output, Reading
    from dialogue.policies.prediction import Prediction

Json = dict[str, Any]

NO_MESSAGE: Final = (
    "No message defined in request body. Add a message to the request body in order to add it to the tracker."
)
NO_TEXT: Final = (
    "No text message defined in request_body. Add text message to request body in order to obtain the intent and "
    "extracted entities."
)


async def post_message(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Take a user's message in, with the slots that it fills, and leave the answer to a later request."""
    assistant = service.assistant()
    body, verbosity = _body(request, NO_MESSAGE), requests.verbosity(request)
    _refuse_other_senders(body)
    message = Message(conversation=conversation, text=_text_of(body), parse_data=_parse_data_of(body))
    outcome = await _done(service, assistant.take_in(message, Collector(), terms_of(request)))
    state = await _state(service, conversation, outcome, verbosity)
    return json_response(state, headers=_headers(service, outcome))


async def post_execute(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Run an action of the bot as if it had been predicted."""
    assistant = service.assistant()
    await _known(service, conversation)
    body = _body(request)
    name, verbosity = _name_of(body, "action"), requests.verbosity(request)
    output = _overheard(await output_of(service, request, conversation))
    policy, confidence = _text_or_none(body, "policy"), _number(body, "confidence")
    work = assistant.execute(conversation, name, policy, confidence, output, terms_of(request))
    try:
        outcome = await _done(service, work)
    except UnknownAction as error:
        raise Unexpected(str(error)) from error
    return await _with_messages(service, conversation, outcome, verbosity, output)


async def post_trigger_intent(service: Service, request: Request, conversation: str) -> HTTPResponse:
    """Answer as if a message with this intent had come."""
    assistant, body = service.assistant(), _body(request)
    name, verbosity = _name_of(body, "intent"), requests.verbosity(request)
    if name not in service.loaded_model().domain.known_intents:
        raise ApiError(404, "NotFound", f"The intent {name} does not exist in the domain.")
    output = _overheard(await output_of(service, request, conversation))
    entities = entities_of(body.get("entities"))
    outcome = await _done(service, assistant.trigger(conversation, name, entities, output, terms_of(request)))
    return await _with_messages(service, conversation, outcome, verbosity, output)


async def post_predict(service: Service, _request: Request, conversation: str) -> HTTPResponse:
    """The next action of a conversation. Nothing is written, and no followup is used up."""
    assistant = service.predicting_assistant()
    reading = await _known(service, conversation)
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
    events = tuple(decode_posted(request.body or NO_BODY, time.time()))
    verbosity = requests.verbosity(request)
    tracker = dialogue.fold(dialogue.initial(domain), events, domain, ())
    scene = Scene(
        sender=requests.DEFAULT_CONVERSATION, channel=Collector().name, domain=domain, tracker=tracker, events=events
    )
    prediction, scene = assistant.predict_here(scene)
    return json_response(_prediction(prediction, _scores(service, prediction), scene, verbosity))


async def post_model_parse(service: Service, request: Request) -> HTTPResponse:
    """What a text means, in Rasa's format, or in the one of another service."""
    assistant = service.assistant()
    formats = emulation(requests.query(request, "emulation_mode"))
    text = formats.text_of(_body(request, NO_TEXT))
    if not isinstance(text, str):
        raise BadRequest("The text of the message is missing, or is no text.", "text", "body")
    try:
        parsed = await assistant.parse(text)
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
    """The entities of a triggered intent: as a list of entities, or short as an object of values by name.

    Raises:
        BadRequest: an item of the list is no entity.
    """
    if isinstance(given, dict):
        return [{"entity": name, "value": value} for name, value in given.items()]
    if not isinstance(given, list):
        return []
    if not all(isinstance(entity, dict) and isinstance(entity.get("entity"), str) for entity in given):
        raise BadRequest("Every one of the entities must be an object with a text 'entity'.", "entities", "body")
    return given


# --- conversations ----------------------------------------------------------------------------------------------------


async def _known(service: Service, conversation: str) -> Reading:
    """A conversation that has events.

    Raises:
        ConversationNotFound: it has none.
    """
    reading = await service.ledger.read(conversation)
    if not reading.tracker.version:
        raise ConversationNotFound
    return reading


# --- answers ----------------------------------------------------------------------------------------------------------


async def _done(service: Service, work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """What became of a turn, now or when the same was asked for before."""
    try:
        return await service.uninterrupted(work)
    except AlreadyDone as done:
        return Outcome(done.base, done.version, repeated=True)


def _headers(service: Service, outcome: Outcome) -> dict[str, str]:
    return headers_of(service.etag(outcome.version), repeated=outcome.repeated)


async def _state(service: Service, conversation: str, outcome: Outcome, verbosity: Verbosity) -> str:
    with written():
        view = await service.trackers.at_version(conversation, outcome.version)
        assert view is not None  # the log has acknowledged that version
        after = await shown_after(service, view, outcome.base)
        return await tracker_document(service.trackers, view, verbosity, after)


def _overheard(output: Output) -> Output:
    """The output; as in Rasa, answers show also what goes to the channel `callback`."""
    return Overheard(output) if output.name == callback.NAME else output


async def _with_messages(
    service: Service, conversation: str, outcome: Outcome, verbosity: Verbosity, output: Output
) -> HTTPResponse:
    state, shown = await _state(service, conversation, outcome, verbosity), ""
    if isinstance(output, Collector):
        said = await _said(service, conversation, outcome) if outcome.repeated else output.messages
        shown = f',"messages":{dumps(said)}'
    return json_response(f'{{"tracker":{state}{shown}}}', headers=_headers(service, outcome))


async def _said(service: Service, conversation: str, outcome: Outcome) -> list[Json]:
    events = await said_in(service, conversation, outcome)
    return [message for event in events for message in messages_of(event, conversation)]


async def said_in(service: Service, conversation: str, outcome: Outcome) -> list[BotUttered]:
    """What the bot said in a turn that began after the outcome's base, up to the next message."""
    with written():
        view = await service.trackers.current(conversation)
        assert view is not None  # it has had that turn
        window = await service.trackers.window(view, outcome.base)
    events = [event for _, event in window.events(outcome.base, view.version)]
    messages = [index for index, event in enumerate(events) if isinstance(event, UserUttered)]
    end = messages[1] if len(messages) > 1 else len(events)
    return [event for event in events[:end] if isinstance(event, BotUttered)]


def _scores(service: Service, prediction: Prediction) -> list[Json]:
    names: Iterable[str] = service.loaded_model().domain.action_names
    return [{"action": name, "score": score} for name, score in zip(names, prediction.scores, strict=True)]


def _prediction(prediction: Prediction, scores: list[Json], scene: Scene, verbosity: Verbosity) -> str:
    head = dumps({"scores": scores, "policy": prediction.policy, "confidence": prediction.confidence})
    return f'{head[:-1]},"tracker":{scene.document(verbosity)}}}'
