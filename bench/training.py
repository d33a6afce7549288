"""How long a bot learns, loads, and thinks about its next action."""

from __future__ import annotations

import pickle
import statistics
import time
from typing import TYPE_CHECKING

import msgspec

from assistant.project import read_project
from assistant.training import train
from bench import projects
from dialogue import ActionExecuted, UserUttered, fold, initial
from dialogue.policies.ensemble import Policies
from dialogue.policies.prediction import Situation

if TYPE_CHECKING:
    from pathlib import Path

    from assistant.model import Model
    from dialogue import Event


class Figures(msgspec.Struct, frozen=True):
    """Seconds."""

    training: float
    loading: float  #: of what was learned, in a worker process
    prediction: float  #: the median of those of a whole story


def measured(folder: Path) -> Figures:
    """Train a project, load what it has learned as a worker does, and predict."""
    began = time.perf_counter()
    model = train(read_project(folder)).model
    trained = time.perf_counter()
    learned = pickle.dumps(model)
    dumped = time.perf_counter()
    loaded: Model = pickle.loads(learned)  # noqa: S301 - our own
    assert loaded.dialogue is not None
    policies = Policies(loaded.domain, loaded.dialogue.configs, loaded.dialogue.tables)
    ready = time.perf_counter()
    return Figures(trained - began, ready - dumped, statistics.median(_predictions(loaded, policies)))


def _predictions(model: Model, policies: Policies) -> list[float]:
    """The seconds of each prediction while users follow stories."""
    seconds = []
    for number in range(0, projects.STORIES, 100):
        events: list[Event] = [_done("action_listen")]
        for step in projects.told(number):
            events.append(_said(step))
            for name in (f"utter_{step}", "action_listen"):
                tracker = fold(initial(model.domain), events, model.domain, ())
                began = time.perf_counter()
                prediction = policies.predict(Situation(tracker, events))
                seconds.append(time.perf_counter() - began)
                assert prediction.action == name, (number, prediction.action, name)
                events.append(_done(name))
    return seconds


def _done(action: str) -> ActionExecuted:
    return ActionExecuted(timestamp=0, metadata={}, name=action)


def _said(intent: int) -> UserUttered:
    parsed = {"intent": {"name": f"intent_{intent}", "confidence": 1.0}, "entities": []}
    return UserUttered(timestamp=0, metadata={}, text="hello", parse_data=parsed)
