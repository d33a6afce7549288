"""Which of many keys fit a conversation: a key says of its last states what must be so, and leaves the rest open."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from dialogue.policies.states import SHOULD_NOT_BE_SET, parse_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dialogue.policies.states import Features, State

Found = tuple[str, str]
"""A key, and what stands under it."""

_Head = tuple[str | None, str | None, str | None, str | None]


class KeyIndex:
    """Keys of rules (see `states.key`), found by the last state's action and user message; only these are compared."""

    def __init__(self, table: Mapping[str, str]) -> None:
        self._buckets: defaultdict[_Head, list[_Entry]] = defaultdict(list)
        for order, found in enumerate(table.items()):
            entry = _Entry(found, order)
            self._buckets[_head(entry.states[-1])].append(entry)
        for bucket in self._buckets.values():
            bucket.sort(key=_rank)

    def best(self, states: Sequence[State]) -> Found | None:
        """Return the most specific key that fits: the longest text, of equally long ones the first of the table."""
        firsts = (next(_fitting(bucket, states), None) for bucket in self._possible(states))
        best = min((entry for entry in firsts if entry), key=_rank, default=None)
        return best.found if best else None

    def all(self, states: Sequence[State]) -> list[Found]:
        """Return every key that fits, the most specific first."""
        entries = [entry for bucket in self._possible(states) for entry in _fitting(bucket, states)]
        return [entry.found for entry in sorted(entries, key=_rank)]

    def _possible(self, states: Sequence[State]) -> list[list[_Entry]]:
        if not states:
            return []
        last = states[-1]
        if last.starts_conversation:
            heads = {_START}
        else:
            heads = {
                (last.action, last.action_text, intent, text)
                for intent in (last.intent, None)
                for text in (last.text, None)
            }
        return [self._buckets[head] for head in heads if head in self._buckets]


class _Entry:
    def __init__(self, found: Found, order: int) -> None:
        self.found = found
        self.order = order
        self.states = parse_key(found[0])


def _rank(entry: _Entry) -> tuple[int, int]:
    return -len(entry.found[0]), entry.order


_START: _Head = (None, None, None, None)


def _head(state: State) -> _Head:
    return _START if state.starts_conversation else (state.action, state.action_text, state.intent, state.text)


def _fitting(bucket: Sequence[_Entry], states: Sequence[State]) -> Iterator[_Entry]:
    return (entry for entry in bucket if fits(entry.states, states))


def fits(key: Sequence[State], states: Sequence[State]) -> bool:
    """Tell whether what a key says of the last states is so."""
    return len(key) <= len(states) and all(map(_fits, reversed(key), reversed(states)))


def _fits(wanted: State, state: State) -> bool:
    if wanted.starts_conversation or state.starts_conversation:
        return wanted.starts_conversation and state.starts_conversation
    return (
        wanted.action == state.action
        and wanted.action_text == state.action_text
        and wanted.intent in (None, state.intent)
        and wanted.text in (None, state.text)
        and wanted.entities in ((), state.entities)
        and (wanted.loop is None or _holds(wanted.loop, state.loop))
        and (not wanted.slots or _slots_fit(wanted, state))
    )


def _slots_fit(wanted: State, state: State) -> bool:
    values = dict(state.slots)
    return all(_holds(value, values.get(name)) for name, value in wanted.slots)


def _holds(wanted: Features, value: Features | None) -> bool:
    """A rule's own states are matched too: there the marker stands for what is not set."""
    return value == wanted or (wanted == SHOULD_NOT_BE_SET and not value)
