"""Whatever is appended in whatever batches, the log answers and holds what a simple model says."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from eventstore import (
    Append,
    Appended,
    EventStore,
    EventStoreError,
    Head,
    IdempotencyKeyReused,
    OpeningNeeded,
    WrongExpectedVersion,
    verify,
)
from tests.eventstore.helpers import events, together

OPENINGS: list[Any] = [(), None, events("o"), events("o1", "o2")]


class Oracle:
    """The log as a list and a few dictionaries."""

    def __init__(self) -> None:
        self.log: list[tuple[str, int, str]] = []
        self._conversations: dict[str, _Conversation] = {}
        self._keys: dict[tuple[str, str], tuple[bytes | None, Appended]] = {}

    def append(self, request: Append) -> Appended | type[EventStoreError]:
        conversation = self._conversations.get(request.conversation, _Conversation())
        if request.key is not None and (used := self._keys.get((request.conversation, request.key))):
            fingerprint, first = used
            same = fingerprint == request.fingerprint
            return Appended(first.base, first.version, first.generation, False, True) if same else IdempotencyKeyReused
        if not _is_expected(request.expected, conversation.version):
            return WrongExpectedVersion
        if conversation.is_empty and request.opening is None:
            return OpeningNeeded
        return self._accept(request, conversation)

    def _accept(self, request: Append, before: _Conversation) -> Appended:
        opening = (request.opening or ()) if before.is_empty else ()
        added = [*opening, *request.events]
        for number, event in enumerate(added, before.version + 1):
            self.log.append((request.conversation, number, event.body))
        self._conversations[request.conversation] = _Conversation(
            before.version + len(added),
            before.generation + request.replaces,
            before.version + 1 if request.replaces else before.generation_version,
        )
        after = self._conversations[request.conversation]
        answer = Appended(before.version, after.version, after.generation, bool(opening), False)
        if request.key is not None:
            self._keys[request.conversation, request.key] = (request.fingerprint, answer)
        return answer

    def heads(self) -> dict[str, tuple[int, int, int]]:
        return {
            name: (head.version, head.generation, head.generation_version) for name, head in self._conversations.items()
        }


class _Conversation(Struct, frozen=True):
    version: int = 0
    generation: int = 1
    generation_version: int = 0

    @property
    def is_empty(self) -> bool:
        return self.version == self.generation_version


def _is_expected(expected: int | None, version: int) -> bool:
    return expected is None or expected == version or (expected == -1 and version > 0)


@st.composite
def requests(draw: st.DrawFn) -> Append:
    replaces = draw(st.booleans()) and draw(st.booleans())
    key = draw(st.none() | st.sampled_from("kl"))
    return Append(
        conversation=draw(st.sampled_from("abc")),
        events=events(*draw(st.lists(st.integers(0, 9), min_size=1, max_size=3))),
        opening=() if replaces else draw(st.sampled_from(OPENINGS)),
        expected=draw(st.none() | st.integers(-1, 6)),
        key=key,
        fingerprint=draw(st.sampled_from([b"f", b"g"])) if key else None,
        replaces=replaces,
    )


def _as_counted(head: Head) -> tuple[int, int, int]:
    return head.version, head.generation, head.generation_version


def _as_told(answer: Appended | BaseException) -> Any:
    return answer if isinstance(answer, Appended) else type(answer)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(requests(), min_size=1, max_size=12), min_size=1, max_size=4))
async def test_the_log_does_what_its_model_does(store: EventStore, batches: list[list[Append]]) -> None:
    oracle = Oracle()
    begin = await store.read.last_position()
    example = f"{begin}-"  # conversations of its own, since all examples share a log
    for batch in batches:
        asked = [replace(request, conversation=example + request.conversation) for request in batch]
        answers = await together(store, asked)
        assert [_as_told(answer) for answer in answers] == [oracle.append(request) for request in asked]
    found = await store.read.positions(begin, 1000)
    assert [(event.conversation, event.version, event.body) for event in found] == oracle.log
    heads = {example + name: await store.read.head(example + name) for name in "abc"}
    assert {name: _as_counted(head) for name, head in heads.items() if head} == oracle.heads()
    await verify(store.read, first=begin + 1)
