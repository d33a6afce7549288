"""`turnlog export`: a replay with the flags of `rasa export`."""

from __future__ import annotations

import uuid
from typing import Any

import click

from api.command_line import FlagsCommand, chosen_broker, configure_logs, faults, load, options, stop
from api.command_replay import carry_out

_SECTION_MISSING = (
    "Could not find an `event_broker` section in the supplied endpoints file. Instructions on how to configure an "
    "event broker are in docs/configuration.md. Exiting."
)


@click.command(
    cls=FlagsCommand,
    params=[
        click.Option(["--minimum-timestamp", "--minimum_timestamp"], type=float, metavar="T",
                     help="Only events with this timestamp or a later one, in Unix seconds."),
        click.Option(["--maximum-timestamp", "--maximum_timestamp"], type=float, metavar="T",
                     help="Only events with an earlier timestamp."),
        click.Option(["--offset-timestamps-by-seconds", "--offset_timestamps_by_seconds"], type=int, default=0,
                     metavar="N", help="Added to the timestamps that are sent. [default: 0]"),
        click.Option(["--conversation-ids", "--conversation_ids"], metavar="ID,ID",
                     help="Only these conversations. [default: all]"),
        click.Option(["--broker"], metavar="NAME", help="The broker; needless if endpoints.yml has one."),
        click.Option(["--after-position"], type=click.IntRange(min=0), metavar="N", help="Begin after this position."),
        *options("endpoints", "data_dir"),
    ],
    short_help="Send conversations to a broker, with the flags of rasa export.",
)  # fmt: skip
def export(
    minimum_timestamp: float | None,
    maximum_timestamp: float | None,
    offset_timestamps_by_seconds: int,
    conversation_ids: str | None,
    broker: str | None,
    after_position: int | None,
    **values: Any,
) -> None:
    """Send conversations to the event broker again, as `rasa export` does, but in order and with confirmations.

    Each message carries the headers turnlog-replay and rasa-export-process-id. `turnlog replay` can do more.

    Exit status: 0 when all was confirmed, 1 when it ended early, with the command that goes on; 130 after Ctrl-C.
    """
    settings = load(values)
    configure_logs(settings)
    if not settings.endpoints.event_brokers:
        stop([_SECTION_MISSING])
    _check_times(minimum_timestamp, maximum_timestamp)
    name = chosen_broker(settings, broker)
    wanted_ids = tuple(filter(None, (conversation_ids or "").split(","))) or None
    from api import replaying
    from eventstore.feed import Selection

    with faults():
        has_events, missing = replaying.missing(settings, wanted_ids)
    _check_conversations(has_events, wanted_ids, missing)
    process_id = uuid.uuid4().hex
    selection = Selection(conversations=wanted_ids, min_timestamp=minimum_timestamp, max_timestamp=maximum_timestamp)
    wanted = replaying.Wanted(
        id=process_id,
        broker=name,
        after=after_position,
        selection=selection,
        offset_seconds=offset_timestamps_by_seconds,
        headers={"rasa-export-process-id": process_id},
    )
    result = carry_out(settings, wanted)
    click.echo(f"Done! Successfully published {result.replayed.confirmed} events 🎉")


def _check_times(minimum: float | None, maximum: float | None) -> None:
    if minimum is not None and maximum is not None and maximum < minimum:
        stop([f"Maximum timestamp '{maximum}' is smaller than minimum timestamp '{minimum}'. Exiting."])


def _check_conversations(has_events: bool, wanted: tuple[str, ...] | None, missing: list[str]) -> None:
    if not has_events:
        stop(["Could not find any conversations in the log. Exiting."])
    if wanted and len(missing) == len(wanted):
        stop(["Could not find an overlap between the requested conversation IDs and those found in the log. Exiting."])
    if missing:
        click.echo(f"turnlog: the log has no conversations with these ids: {', '.join(sorted(missing))}", err=True)
