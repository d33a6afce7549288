"""Sections of `event_broker`: which broker they mean, and what is wrong with them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from brokers import InvalidOptions, broker_of

if TYPE_CHECKING:
    from pathlib import Path

RABBITMQ = {"url": "localhost", "username": "u", "password": "p"}
KAFKA = {"type": "kafka", "url": "localhost:9092", "security_protocol": "PLAINTEXT"}
CUSTOM = """
from brokers import Publisher

class Mine(Publisher):
    def __init__(self, options):
        super().__init__(options)
        self.folder = options["folder"]
    async def open(self, source):
        return None
    async def publish(self, window):
        pass
    async def close(self):
        pass

class NoPublisher:
    pass
"""


def faults(values: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    with pytest.raises(InvalidOptions) as caught:
        broker_of(values, {})
    return caught.value.faults


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (RABBITMQ, "pika"),
        (RABBITMQ | {"type": "PIKA"}, "pika"),
        (KAFKA, "kafka"),
        (KAFKA | {"type": "Kafka"}, "kafka"),
        ({"type": "FILE"}, "file"),
    ],
)
def test_the_type_is_read_as_rasa_reads_it_and_is_the_default_name(values: dict[str, Any], kind: str) -> None:
    broker = broker_of(values, {})
    assert (broker.kind, broker.name, broker.title, broker.start) == (kind, kind, f"relay {kind}", "beginning")


def test_a_broker_has_a_name_a_start_and_may_leave_out_imports() -> None:
    values = {"type": "file", "name": "audit-1", "start": "NOW", "publish_imported": "false"}
    broker = broker_of(values, {})
    assert (broker.name, broker.start, broker.publish_imported) == ("audit-1", "now", False)


@pytest.mark.parametrize(
    ("values", "key", "sentence"),
    [
        ({"name": "two words"}, "name", "must be 1 to 100 letters, digits, dots, dashes or underscores"),
        ({"start": "later"}, "start", "must be one of beginning, now, is 'later'"),
        ({"publish_imported": "perhaps"}, "publish_imported", "must be true or false, is 'perhaps'"),
        ({"path": ["a"]}, "path", "must be text, is a list"),
    ],
)
def test_a_fault_names_its_key(values: dict[str, Any], key: str, sentence: str) -> None:
    ((named, said),) = faults({"type": "file"} | values)
    assert named == key
    assert sentence in said


def test_the_sql_broker_is_refused_with_the_view_that_takes_its_place() -> None:
    ((key, sentence),) = faults({"type": "SQL", "dialect": "sqlite"})
    assert key == "type"
    assert "a view named `events`" in sentence


def test_unknown_keys_are_listed() -> None:
    assert broker_of({"type": "file", "loglevel": "DEBUG"}, {}).unknown == ("loglevel",)


def test_a_class_by_its_dotted_path_is_made_with_all_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_brokers_of_this_test.py").write_text(CUSTOM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    broker = broker_of({"type": "my_brokers_of_this_test.Mine", "name": "mine", "folder": "x"}, {})
    publisher: Any = broker.publisher()
    assert (broker.kind, publisher.folder) == ("my_brokers_of_this_test.Mine", "x")
    ((_, sentence),) = faults({"type": "my_brokers_of_this_test.NoPublisher", "name": "x"})
    assert "is no subclass of brokers.Publisher" in sentence


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("redis", "'redis' is none of file, kafka, pika, sql, and no dotted path of a class"),
        ("..brokers.Publisher", "'..brokers.Publisher' is none of"),
        ("no.such.module", "'no.such.module' can't be imported: ModuleNotFoundError: No module named 'no'"),
        ("brokers.NoSuchClass", "'brokers.NoSuchClass' can't be imported"),
    ],
)
def test_a_type_that_leads_nowhere_is_a_fault(path: str, sentence: str) -> None:
    assert any(key == "type" and sentence in said for key, said in faults({"type": path, "name": "x"}))
