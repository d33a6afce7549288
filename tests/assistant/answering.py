"""An assistant as one process of the service has it, with actions that the test plays, over a real log."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from api.ledger import TrackerLedger
from assistant import Assistant, Collector, Message
from assistant.model import DialogueModel
from assistant.nlu.pipeline import Pipeline
from assistant.project import Project
from assistant.reminders import Reminders
from assistant.responses import Responses
from assistant.services import Services
from assistant.training import train
from dialogue import Event
from dialogue.policies.ensemble import Policies
from eventstore import EventStore
from projections import Trackers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from assistant.model import Model
    from assistant.scene import Scene
    from eventstore import Database

Play = Callable[["Scene"], Awaitable[list[Event]]]

DOMAIN = """
version: "3.1"
intents: [greet, ask, work, twice]
slots:
  paid: {type: bool, mappings: [{type: custom}]}
actions: [action_work, action_loop]
responses:
  utter_greet: [{text: "hello"}]
  utter_paid: [{text: "paid"}]
  utter_not_paid: [{text: "not paid"}]
  utter_default: [{text: "what?"}]
"""
RULES = """
version: "3.1"
rules:
- rule: greet
  steps: [{intent: greet}, {action: utter_greet}]
- rule: work and it is not paid
  steps: [{intent: work}, {action: action_work}, {slot_was_set: [{paid: null}]}, {action: utter_not_paid}]
- rule: work and it is paid
  steps: [{intent: work}, {action: action_work}, {slot_was_set: [{paid: true}]}, {action: utter_paid}]
- rule: ask, paid
  condition: [{slot_was_set: [{paid: true}]}]
  steps: [{intent: ask}, {action: utter_paid}]
- rule: ask, not paid
  condition: [{slot_was_set: [{paid: null}]}]
  steps: [{intent: ask}, {action: utter_not_paid}]
"""
CONFIG = "policies: [{name: RulePolicy}]"


def model() -> Model:
    """A bot that greets, and works by an action of its own."""
    files = (("data/rules.yml", RULES),)
    return train(Project("bot", (("domain.yml", DOMAIN),), files, ("config.yml", CONFIG))).model


class Played(Services):
    """Services whose actions are functions of the test."""

    def __init__(self, plays: Mapping[str, Play]) -> None:
        super().__init__(None, Responses())
        self._plays = plays

    async def call(self, action: str, scene: Scene) -> list[Event]:
        """Play the action."""
        return await self._plays[action](scene)


class Process:
    """What a process of the service has."""

    def __init__(self, store: EventStore, plays: Mapping[str, Play], limit: int = 10) -> None:
        bot = model()
        learned = bot.dialogue
        assert isinstance(learned, DialogueModel)
        self.store = store
        self.trackers = Trackers(store, bot.domain)
        self.ledger = TrackerLedger(self.trackers, lambda: None)
        self.outcomes: Counter[str] = Counter()  # of reminders
        self.reminders = Reminders(store.read, store.database, node=store.node, count=self._count)
        self.assistant = Assistant(
            bot.domain,
            policies=Policies(bot.domain, learned.configs, learned.tables),
            understanding=Pipeline(bot.nlu, bot.domain),
            services=Played(plays),
            ledger=self.ledger,
            turns=store.turns,
            marks={},
            limit=limit,
            reminders=self.reminders,
        )

    def _count(self, outcome: str, number: int) -> None:
        self.outcomes[outcome] += number

    async def say(self, text: str, conversation: str = "c") -> list[str]:
        """What the bot answers."""
        output = Collector()
        await self.assistant.answer(Message(conversation=conversation, text=text), output)
        return [message["text"] for message in output.messages]

    async def events(self, conversation: str = "c") -> list[str]:
        """The current session in short."""
        reading = await self.ledger.read(conversation)
        return [f"{event.type} {_about(event)}".strip() for event in reading.events]


def _about(event: Any) -> str:
    return str(getattr(event, "name", None) or getattr(event, "text", None) or "")


@asynccontextmanager
async def process(database: Database, limit: int = 10, **plays: Play) -> AsyncIterator[Process]:
    """A process, its turns at work; the parameters name what actions do."""
    async with EventStore(database) as store:
        work = asyncio.create_task(store.turns.run())
        running = Process(store, plays, limit)
        try:
            yield running
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
            await running.trackers.close()
