"""Which events of a conversation still count, after what was taken back and what loops repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dialogue.events import (
    ActionExecuted,
    ActionExecutionRejected,
    ActionReverted,
    ActiveLoop,
    Restarted,
    SessionStarted,
    TrackerReplaced,
    UserFeaturization,
    UserUtteranceReverted,
    UserUttered,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dialogue.events import Event

_RESETS = (Restarted, SessionStarted, TrackerReplaced)
_TAKING_BACK = frozenset((*_RESETS, ActionReverted, UserUtteranceReverted))


def applied(events: Iterable[tuple[int, Event]], loop_names: Collection[str]) -> list[int]:
    """Return the keys (versions, or indexes) of the events that still count, in order.

    A restart, a session start and a replaced conversation take back everything before, and themselves; so events before
    the last one need not be given. `undo` takes back the last action and what follows; `rewind` the last user message,
    what follows, and the action before it.

    When a loop (one of `loop_names`: all that were active so far in the conversation) runs again, this run is not kept,
    and the actions and user messages since its run before are dropped: a form looks as if it had run once. It is a new
    run when the loop was ended or refused to run since, or when a user message was answered by another action.
    """
    events = list(events)
    if not loop_names and _TAKING_BACK.isdisjoint([type(event) for _, event in events]):
        return [key for key, _ in events]  # as in most conversations, at a fraction of the cost
    kept = Kept(loop_names)
    for key, event in events:
        kept.add(key, event)
    return [key for key in kept.keys if key is not None]


class Kept:
    """The list of the events that count, as it grows; the rules are those of `applied`.

    Positions are indexes into `keys`, where None stands for a dropped event. Each stack holds positions in rising
    order, so that every question about the end of the list is answered by a look at some tops: an event costs no more
    in a long conversation than in a short one.
    """

    def __init__(self, loop_names: Collection[str]) -> None:
        self.loop_names = frozenset(loop_names)
        self.clear()

    def clear(self) -> None:
        self.keys: list[int | None] = []
        self.actions: list[int] = []
        self.users: list[int] = []
        self.featurizations: list[int] = []
        self.loop_ends: list[int] = []
        self.answers: list[tuple[int, int]] = []
        """(position of a user message, position of the named action that was the first after it)"""
        self.runs: dict[str, list[int]] = {}
        self.rejections: dict[str, list[int]] = {}
        self.named: list[tuple[int, str]] = []
        """(position, name) of all named actions: what is in `runs`, in one stack"""
        self.rejected: list[tuple[int, str]] = []
        """The same of what is in `rejections`."""

    def add(self, key: int, event: Event) -> None:
        if isinstance(event, _RESETS):
            self.clear()
        elif isinstance(event, ActionReverted):
            self._cut_from(self.actions)
        elif isinstance(event, UserUtteranceReverted):
            self._cut_from(self.users)
            self._cut_from(self.actions)
        elif isinstance(event, ActionExecuted) and event.name in self.loop_names and self._runs_again(event.name):
            self._drop_since(self.runs[event.name][-1])
        else:
            self._append(key, event)

    def latest_action(self) -> int | None:
        """The key of the last action that counts."""
        return self.keys[self.actions[-1]] if self.actions else None

    def latest_user(self) -> int | None:
        """The key of the last user message that counts."""
        return self.keys[self.users[-1]] if self.users else None

    def _append(self, key: int, event: Event) -> None:
        position = len(self.keys)
        self.keys.append(key)
        if isinstance(event, ActionExecuted):
            self._append_action(position, event)
        elif isinstance(event, UserUttered):
            self.users.append(position)
        elif isinstance(event, UserFeaturization):
            self.featurizations.append(position)
        elif isinstance(event, ActiveLoop) and event.name is None:
            self.loop_ends.append(position)
        elif isinstance(event, ActionExecutionRejected) and isinstance(event.name, str):
            self.rejections.setdefault(event.name, []).append(position)
            self.rejected.append((position, event.name))

    def _append_action(self, position: int, event: ActionExecuted) -> None:
        if event.name is not None:
            if _top(self.users) > _top(self.actions):
                self.answers.append((self.users[-1], position))
            self.runs.setdefault(event.name, []).append(position)
            self.named.append((position, event.name))
        self.actions.append(position)

    def _runs_again(self, loop: str) -> bool:
        run = _top(self.runs.get(loop, []))
        if run < 0:
            return False
        answered = self.answers[-1][0] if self.answers else -1
        return run > max(_top(self.loop_ends), _top(self.rejections.get(loop, [])), answered)

    def _drop_since(self, position: int) -> None:
        for stack in (self.actions, self.users, self.featurizations):
            while _top(stack) > position:
                self.keys[stack.pop()] = None
        _forget(self.named, self.runs, position + 1)

    def _cut_from(self, stack: list[int]) -> None:
        """Take back the event on top of the stack and all after it; everything, if there is none."""
        length = max(_top(stack), 0)
        del self.keys[length:]
        for positions in (self.actions, self.users, self.featurizations, self.loop_ends):
            while _top(positions) >= length:
                positions.pop()
        while self.answers and self.answers[-1][1] >= length:
            self.answers.pop()
        _forget(self.named, self.runs, length)
        _forget(self.rejected, self.rejections, length)


def _forget(all_names: list[tuple[int, str]], by_name: dict[str, list[int]], length: int) -> None:
    """Take back what stands at positions from `length` on; a look at every name would cost their number each time."""
    while all_names and all_names[-1][0] >= length:
        by_name[all_names.pop()[1]].pop()


def _top(positions: list[int]) -> int:
    return positions[-1] if positions else -1
