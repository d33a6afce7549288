"""`POST /model/train`: a project comes, and the archive of its model goes back. Tests of models are not offered."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import structlog
from sanic.response import HTTPResponse

from api import requests
from api.archiving import new_name
from api.callbacks import callback_address, deliver
from api.endpoint import as_api_error, error_response
from api.errors import BadRequest, NotOffered, NotTrained, TrainingFailed
from api.exchanging import arrivals
from api.settings import DEFAULT_MODEL
from api.training_apart import TrainedApart, TrainingBroken, train_apart
from assistant.document import train_document
from assistant.project import InvalidModel
from dialogue import InvalidYaml

if TYPE_CHECKING:
    from sanic import Request

    from api.service import Service
    from assistant.endpoint import Endpoint

log = structlog.get_logger("turnlog.model")

CONTENT_TYPE: Final = "application/x-tar"  #: as in Rasa
TRAINING_HELP: Final = "https://rasa.com/docs/rasa/training-data-format"
NO_DATA: Final = "You must provide training data in the request body in order to train your model."
NO_STORIES: Final = "You must provide some stories in the request body in order to evaluate your model."
NO_EXAMPLES: Final = "You must provide some nlu data in the request body in order to evaluate your model."
STORIES_INSTEAD: Final = (
    "This service does not test models. To test one on a story, POST the events of its beginning to /model/predict, "
    "and compare the action with the best score with the one that follows in the story."
)
INTENTS_INSTEAD: Final = (
    "This service does not test models. To test one on examples, POST the text of each to /model/parse, and compare "
    "the intent and the entities with those of the example."
)


async def post_train(service: Service, request: Request) -> HTTPResponse:
    """Train a model. The one that is served with stays.

    The training ends when the client hangs up, but for one whose result is posted to a `callback_url`.
    """
    url = requests.query(request, "callback_url")
    callback = None if url is None else callback_address(url)
    place = await asyncio.to_thread(service.process.trainings.take)
    if callback is None:
        # Sanic does not read on after a large body, and would not see that the client hangs up.
        transport: Any = request.transport
        transport.resume_reading()
        return await _trained(service, request, place)
    service.process.callbacks.begin(_report(service, request, place, callback))
    return HTTPResponse(status=204)


async def post_test_stories(service: Service, request: Request) -> HTTPResponse:
    """Testing a model on stories, which is not offered."""
    service.loaded_model()
    raise NotOffered(STORIES_INSTEAD) if request.body else BadRequest(NO_STORIES)


async def post_test_intents(_service: Service, request: Request) -> HTTPResponse:
    """Testing a model on examples, which is not offered."""
    raise NotOffered(INTENTS_INSTEAD) if request.body else BadRequest(NO_EXAMPLES)


async def _report(service: Service, request: Request, place: BinaryIO, callback: Endpoint) -> None:
    """Train, and post the answer to the callback, whatever it is."""
    try:
        response = await _trained(service, request, place)
    except Exception as error:  # noqa: BLE001 - whoever waits for the result hears of every fault
        response = error_response(as_api_error(error, service, request))
    headers = {"Content-Type": response.content_type or "", **response.headers}
    await deliver(service.process.client, callback, response.body or b"", headers)


async def _trained(service: Service, request: Request, place: BinaryIO) -> HTTPResponse:
    """The answer with the archive; the place is left."""
    with place, arrivals(service.process.shelf) as folder:
        if not request.body:
            raise BadRequest(NO_DATA)
        is_kept = (requests.query(request, "save_to_default_model_directory") or "true").lower() == "true"
        if is_kept:
            await asyncio.to_thread(_prepare, Path(DEFAULT_MODEL))
        archive = await _archive(service, request.body, folder)
        if is_kept:
            await asyncio.to_thread(_keep, archive, Path(DEFAULT_MODEL))
        content = await asyncio.to_thread(archive.read_bytes)
    headers = {"filename": archive.name, "Content-Disposition": f'attachment; filename="{archive.name}"'}
    return HTTPResponse(content, headers=headers, content_type=CONTENT_TYPE)


async def _archive(service: Service, body: bytes, folder: Path) -> Path:
    """Train the project in a body, and give the archive in the folder."""
    began, document, archive = time.monotonic(), folder / "body", folder / "model.tar.gz"
    await asyncio.to_thread(document.write_bytes, body)
    trained = await _learned(service, document, archive)
    for warning in trained.warnings:
        log.warning("odd training data", warning=warning)
    named = archive.rename(folder / f"{new_name(trained.id)}.tar.gz")
    seconds = round(time.monotonic() - began, 3)
    log.info("model trained", model=named.name, model_id=trained.id, seconds=seconds)
    return named


async def _learned(service: Service, document: Path, archive: Path) -> TrainedApart:
    settings = service.settings
    learn = partial(train_document, document, understands_elsewhere=settings.endpoints.nlu is not None)
    try:
        async with asyncio.timeout(settings.limits.response_timeout):
            return await train_apart(learn, archive)
    except asyncio.CancelledError:
        log.warning("training given up: the client has hung up, or the service stops")
        raise
    except InvalidYaml as error:
        message = f"The request body does not contain valid YAML. Error: {error}"
        raise BadRequest(message, details={"faults": [str(error)]}, help=TRAINING_HELP) from error
    except InvalidModel as error:
        raise NotTrained(str(error).splitlines(), TRAINING_HELP) from error
    except TrainingBroken as error:
        raise TrainingFailed(str(error)) from error
    except TimeoutError as error:
        raise TrainingFailed(f"it took longer than {settings.limits.response_timeout:g} seconds") from error


def _prepare(folder: Path) -> None:
    """Make sure that the archive can be kept, before somebody waits for it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_kept(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _not_kept(folder, PermissionError(13, "Permission denied"))


def _keep(archive: Path, folder: Path) -> None:
    """Copy an archive to a folder, where it is whole as soon as it is there."""
    part = folder / f".{archive.name}.{archive.parent.name}"
    try:
        shutil.copyfile(archive, part)
        part.replace(folder / archive.name)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise _not_kept(folder, error) from error


def _not_kept(folder: Path, error: OSError) -> TrainingFailed:
    return TrainingFailed(
        f"the archive can't be written to the folder {folder}: {error.strerror}; "
        "with save_to_default_model_directory=false it is not kept here"
    )
