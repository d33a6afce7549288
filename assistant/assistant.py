"""The assistant of one process: messages, intents and actions come in, and what the bot answers goes out."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import Struct
from msgspec.structs import replace

from assistant.careful import Careful
from assistant.channels.output import Collector
from assistant.customs import PRESENT
from assistant.draft import NO_TERMS, Draft, Overtaken, Terms
from assistant.lines import Lines
from assistant.older_customs import OlderPolicies
from assistant.outside import Outside
from assistant.remote_loop import RemoteLoop, Told
from assistant.turn import MESSAGE, TurnTaker
from dialogue import UserUttered, stamp
from dialogue.policies.prediction import Prediction, Situation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from assistant.careful import Services
    from assistant.channels.output import Output
    from assistant.customs import Customs
    from assistant.draft import Ledger
    from assistant.reminders import Due, Reminders
    from assistant.scene import Scene
    from assistant.turn import Predictor
    from dialogue import Domain, Event
    from eventstore import Turns

Json = dict[str, Any]
Work = Callable[[Draft, Outside], Awaitable[None]]

PATIENCE: Final = 5  #: so often a turn begins anew because of what was posted meanwhile; then it goes on behind that


class Understanding(Protocol):
    """Who says what a message means."""

    async def parse(self, text: str, conversation: str) -> Json:
        """The parse data of a text: `text`, `intent`, `entities`, and what the components add."""


class Message(Struct, frozen=True, kw_only=True):
    """What a user said. With `parse_data`, somebody has understood it already."""

    conversation: str
    text: str | None
    input_channel: str | None = None
    metadata: Json = {}
    parse_data: Json | None = None
    message_id: str | None = None


class Outcome(Struct, frozen=True):
    """The versions of a conversation between which a turn lies, and whatever was posted meanwhile.

    If it was repeated, somebody has asked for the same before, and nothing was done now.
    """

    base: int
    version: int
    repeated: bool = False


class Assistant:
    """Answers conversations, each of them one turn after the other, over all processes."""

    def __init__(
        self,
        domain: Domain,
        *,
        policies: Predictor | None,
        understanding: Understanding,
        services: Services,
        ledger: Ledger,
        turns: Turns,
        marks: Mapping[str, str],
        limit: int,
        reminders: Reminders | None = None,
        lines: Lines | None = None,
        customs: Customs = PRESENT,
    ) -> None:
        """Without `reminders`, what the bot wants to be reminded of is recorded only.

        Several assistants of a process that answer the same conversations share their `lines`.
        """
        self._domain, self._policies, self._understanding = domain, policies, understanding
        self._services, self._ledger, self._turns, self._marks = services, ledger, turns, marks
        self._reminders, self._customs = reminders, customs
        self._predictor = customs.predictor(policies, domain) if policies else None
        self._turn_taker = TurnTaker(domain, self._predictor, limit, customs)
        self._lines = Lines() if lines is None else lines

    async def answer(self, message: Message, output: Output, terms: Terms = NO_TERMS) -> Outcome:
        """Take a message in and answer it.

        Raises:
            AlreadyDone, IdempotencyKeyReused, WrongExpectedVersion: the terms do not allow it; nothing was written.
            StoreUnavailable: the database is away. What is in the log by then stays there.
            TurnLost: this process stood still for so long that another one went on with the conversation.
        """
        async with self._lines.turn(message.conversation):
            event = await self._understood(message)
            work = partial(self._turn_taker.answer, message=event, session_metadata=message.metadata)
            return await self._run(message.conversation, output, work, terms)

    async def take_in(self, message: Message, output: Output, terms: Terms = NO_TERMS) -> Outcome:
        """Take a message in, with the slots that it fills, and leave the answer to somebody else. As `answer`."""
        async with self._lines.turn(message.conversation):
            event = await self._understood(message)
            work = partial(self._turn_taker.take_in, message=event, session_metadata=message.metadata)
            return await self._run(message.conversation, output, work, terms)

    async def trigger(
        self, conversation: str, intent: str, entities: list[Json], output: Output, terms: Terms = NO_TERMS
    ) -> Outcome:
        """Answer as if a message with this intent had come, through the channel of the last one. As `answer`."""
        async with self._lines.turn(conversation):
            return await self._run(conversation, output, partial(self._trigger, intent, entities), terms)

    async def remind(self, reminder: Due, output: Output) -> Outcome:
        """Answer as if a message with a reminder's intent had come. As `answer`.

        Raises:
            Outdated: it is not to be run any more.
            AlreadyDone: it was run before.
        """
        async with self._lines.turn(reminder.conversation):
            key = f"reminder {reminder.id}"
            terms = Terms(key=key, fingerprint=key.encode())
            return await self._run(reminder.conversation, output, partial(self._remind, reminder), terms)

    async def execute(
        self,
        conversation: str,
        action: str,
        policy: str | None,
        confidence: float,
        output: Output,
        terms: Terms = NO_TERMS,
    ) -> Outcome:
        """Run an action as if it had been predicted. As `answer`; raises UnknownAction as well.

        With a key an action of the action server may run again; what it brings about is written once.
        """
        work = partial(self._turn_taker.execute, name=action, policy=policy, confidence=confidence)
        async with self._lines.turn(conversation):
            return await self._run(conversation, output, work, terms)

    async def parse(self, text: str) -> Json:
        """What a text means."""
        return await self._understanding.parse(text, "default")

    def predict(self, scene: Scene) -> tuple[Prediction, Scene]:
        """The next action of a conversation, and the scene that it leads to: a session may be due. No I/O."""
        scene = scene.after([stamp(event, self._marks) for event in self._customs.opening(scene)])
        return self.predict_here(scene)

    def predict_here(self, scene: Scene) -> tuple[Prediction, Scene]:
        """The next action in exactly this scene, which then waits for no followup any more. No I/O."""
        assert self._predictor is not None  # who asks has looked: `can_predict`
        prediction = self._predictor.predict(Situation(scene.tracker, scene.since_reset))
        return prediction, replace(scene, tracker=replace(scene.tracker, followup_action=None))

    @property
    def can_predict(self) -> bool:
        """Whether there is a dialogue model."""
        return self._predictor is not None

    # --- for clients that run the actions ---

    async def hear(self, message: Message, terms: Terms = NO_TERMS) -> tuple[Told, Outcome]:
        """Take a message in, and say what is to be done. As `answer`."""
        async with self._lines.turn(message.conversation):
            event = await self._understood(message)
            return await self._tell(message.conversation, partial(self.remote_loop.hear, message=event), terms)

    async def go_on(
        self, conversation: str, executed: str | None, events: Sequence[Event], terms: Terms = NO_TERMS
    ) -> tuple[Told, Outcome]:
        """Write down what was done, and say what is to be done next. As `answer`; raises UnknownAction as well."""
        work = partial(self.remote_loop.go_on, executed=executed, events=events)
        async with self._lines.turn(conversation):
            return await self._tell(conversation, work, terms)

    @property
    def remote_loop(self) -> RemoteLoop:
        """Who says what is to be done."""
        assert self._policies is not None  # who asks has looked: `can_predict`
        return RemoteLoop(self._domain, OlderPolicies(self._policies, self._domain), self._customs)

    async def _tell(
        self, conversation: str, work: Callable[[Draft], Awaitable[Told]], terms: Terms
    ) -> tuple[Told, Outcome]:
        told: list[Told] = []

        async def tell(draft: Draft, _outside: Outside) -> None:
            told.append(await work(draft))

        # What the client says of the bot is no news to it, and reminders are its own affair.
        draft = await self._carry_out(conversation, Collector(), tell, terms, reminders=None)
        tracker = draft.scene.tracker  # behind what was posted meanwhile
        return replace(told[-1], tracker=tracker), Outcome(draft.base, tracker.version)

    # --- turns ---

    async def _run(self, conversation: str, output: Output, work: Work, terms: Terms) -> Outcome:
        draft = await self._carry_out(conversation, output, work, terms, self._reminders)
        return Outcome(draft.base, draft.scene.tracker.version)

    async def _carry_out(
        self, conversation: str, output: Output, work: Work, terms: Terms, reminders: Reminders | None
    ) -> Draft:
        draft = Draft(
            conversation,
            output.name,
            domain=self._domain,
            marks=self._marks,
            ledger=self._ledger,
            turns=self._turns,
            deliver=output.send,
            reminders=reminders,
            terms=terms,
        )
        outside, is_done = Careful(self._services, draft), False
        try:
            for attempt in count(1):
                with contextlib.suppress(Overtaken):
                    await draft.begin(insists=attempt > PATIENCE)
                    if output.is_remote:
                        # A turn of another process could be written behind this one, and heard before it.
                        await draft.hold()
                    await work(draft, outside)
                    await draft.write()
                    is_done = True
                    break
        finally:
            await draft.close(cut_off=not is_done)
        return draft

    async def _trigger(self, intent: str, entities: list[Json], draft: Draft, outside: Outside) -> None:
        event = _external(intent, entities, draft.scene.tracker.latest_input_channel)
        await self._turn_taker.answer(draft, outside, event)

    async def _remind(self, reminder: Due, draft: Draft, outside: Outside) -> None:
        if not draft.has_written(MESSAGE):
            reminder.refuse_outdated(draft.scene)
        await self._trigger(reminder.intent, reminder.entities, draft, outside)

    async def _understood(self, message: Message) -> UserUttered:
        parsed = message.parse_data or await self._understanding.parse(message.text or "", message.conversation)
        return _uttered(message, parsed)


def _uttered(message: Message, parsed: Json) -> UserUttered:
    message_id = message.message_id or uuid.uuid4().hex
    return UserUttered(
        timestamp=time.time(),
        metadata=message.metadata,
        text=message.text,
        input_channel=message.input_channel,
        message_id=message_id,
        parse_data=_parse_data(parsed, message.text, message_id, message.metadata),
    )


def _external(intent: str, entities: list[Json], channel: str | None) -> UserUttered:
    text, metadata = f"EXTERNAL: {intent}", {"is_external": True}
    parsed = {"intent": {"name": intent}, "entities": entities}
    return UserUttered(
        timestamp=time.time(),
        metadata=metadata,
        text=text,
        input_channel=channel,
        parse_data=_parse_data(parsed, text, None, metadata),
    )


def _parse_data(parsed: Json, text: str | None, message_id: str | None, metadata: Json) -> Json:
    known = {"text": text, "message_id": message_id, "metadata": metadata}
    return {"intent": {}, "entities": [], **known, **parsed, **known}
