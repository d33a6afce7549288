"""What can go wrong between the log and a broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class BrokerError(Exception):
    """The root of this package's errors; the message is one sentence for people."""


class InvalidOptions(BrokerError, ValueError):
    """A section of `event_broker` can't be used; `faults` holds (key, sentence) for each reason."""

    def __init__(self, faults: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{key}: {sentence}" for key, sentence in faults))
        self.faults = tuple(faults)


class BrokerUnavailable(BrokerError):
    """The broker can't be reached, or refuses us; trying again later may help.

    `setting` is the key of the section that a person would look at, such as `url`; empty when none would help.
    """

    def __init__(self, reason: str, *, setting: str = "") -> None:
        super().__init__(f"{setting}: {reason}" if setting else reason)
        self.reason = reason
        self.setting = setting


class PublishFailed(BrokerUnavailable):
    """A window was not confirmed whole. Its first `confirmed` messages were; what became of the others is unknown."""

    def __init__(self, reason: str, *, confirmed: int = 0, setting: str = "") -> None:
        super().__init__(reason, setting=setting)
        self.confirmed = confirmed


class RelayStopped(BrokerError):
    """The relay must not go on by itself; the message says what happened, and the command that lets it go on."""
