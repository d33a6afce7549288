"""Sections for RabbitMQ: Rasa's keys and variables mean what they mean there, and a fault tells no secret."""

from __future__ import annotations

from typing import Any

import pytest

from brokers import InvalidOptions
from brokers.options import Options
from brokers.rabbitmq_options import RabbitMQOptions, Tls, read

RASA = {"url": "rabbit.example", "username": "u", "password": "p"}
CLIENT = {"RABBITMQ_SSL_CLIENT_CERTIFICATE": "client.pem", "RABBITMQ_SSL_CLIENT_KEY": "client.key"}


def options(values: dict[str, Any], environ: dict[str, str] | None = None) -> RabbitMQOptions:
    given = Options(values, environ or {})
    found = read(given)
    given.check()
    return found


def faults(values: dict[str, Any], environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(InvalidOptions) as caught:
        options(values, environ)
    return dict(caught.value.faults)


# ---- where RabbitMQ is ----


def test_a_section_of_rasa_means_what_it_means_there() -> None:
    assert options(RASA) == RabbitMQOptions(
        host="rabbit.example",
        port=5672,
        virtual_host="/",
        username="u",
        password="p",
        heartbeat=None,
        tls=None,
        exchange_name="rasa-exchange",
        exchange_type="fanout",
        exchange_durable=False,
        queues=("rasa_core_events",),
        are_queues_given=False,
        queue_type="classic",
        routing_key="",
        binding_key="",
        window=1000,
        max_message_bytes=16 * 1024 * 1024,
        app_id=None,
    )


@pytest.mark.parametrize(
    ("url", "port", "address"),
    [
        ("rabbit.example", None, "rabbit.example:5672"),
        ("rabbit.example", 5673, "rabbit.example:5673"),
        ("rabbit.example", "5673", "rabbit.example:5673"),
        ("rabbit.example:5674", None, "rabbit.example:5674"),
        ("amqp://rabbit.example", None, "rabbit.example:5672"),
        ("amqp://rabbit.example", 5673, "rabbit.example:5673"),
        ("amqp://rabbit.example:5674", 5673, "rabbit.example:5674"),
        ("AMQP://u:p@rabbit.example", None, "rabbit.example:5672"),
        ("amqps://rabbit.example", None, "rabbit.example:5671"),
        ("amqps://rabbit.example", 5672, "rabbit.example:5672"),
        ("amqp://[::1]", None, "[::1]:5672"),
    ],
)
def test_a_port_stands_in_the_url_or_in_the_section(url: str, port: Any, address: str) -> None:
    assert options(RASA | {"url": url, "port": port}).address == address


@pytest.mark.parametrize(
    ("path", "virtual_host"), [("", "/"), ("/", "/"), ("/%2F", "/"), ("/chat", "chat"), ("/a%2Fb%20c", "a/b c")]
)
def test_the_path_of_the_url_is_the_virtual_host(path: str, virtual_host: str) -> None:
    assert options(RASA | {"url": f"amqp://rabbit.example{path}"}).virtual_host == virtual_host


@pytest.mark.parametrize(
    ("url", "credentials"),
    [
        ("amqp://rabbit.example", ("u", "p")),
        ("amqp://me:my%40%2Fword@rabbit.example", ("me", "my@/word")),
        ("amqp://me@rabbit.example", ("me", "p")),
    ],
)
def test_user_and_password_stand_in_the_url_or_in_the_section(url: str, credentials: tuple[str, str]) -> None:
    found = options(RASA | {"url": url})
    assert (found.username, found.password) == credentials


def test_a_url_may_hold_all_of_it() -> None:
    found = options({"url": "amqp://u:p@rabbit.example:5673/chat?heartbeat=30"})
    assert (found.username, found.password, found.virtual_host, found.heartbeat) == ("u", "p", "chat", 30)


@pytest.mark.parametrize("key", ["url", "username", "password"])
def test_what_rasa_needs_is_needed(key: str) -> None:
    assert faults({name: value for name, value in RASA.items() if name != key}) == {key: "is missing"}


@pytest.mark.parametrize(
    "url",
    [
        "http://u:secret@rabbit.example",
        "amqp://u:se#cret@rabbit.example",
        "amqp://u:se/cret@rabbit.example",
        "amqp://u:12#secret@rabbit.example",
        "amqp://u:secret@rabbit.example:port",
        "amqp://u:secret@",
        "amqp://u:secret@[::1",
        "amqp://u:secret@rabbit..example",
    ],
)
def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    sentence = faults(RASA | {"url": url})["url"]
    assert sentence.startswith("must be a host, or amqp://host:port/vhost")
    assert "cret" not in sentence


@pytest.mark.parametrize("heartbeat", ["often", "-1", "65536", "1.5"])
def test_a_heartbeat_is_a_number_of_seconds(heartbeat: str) -> None:
    found = faults(RASA | {"url": f"amqp://rabbit.example?heartbeat={heartbeat}"})
    assert found == {"url": f"its `heartbeat` must be a whole number of seconds up to 65535, is {heartbeat!r}"}


def test_no_password_shows() -> None:
    environ = CLIENT | {"RABBITMQ_SSL_KEY_PASSWORD": "hidden"}
    shown = options({"url": "amqps://u:hidden@rabbit.example/chat"}, environ)
    assert repr(shown) == "RabbitMQOptions(rabbit.example:5671, chat)"
    assert repr(shown.tls) == "Tls(None, client.pem, client.key)"


# ---- TLS ----


@pytest.mark.parametrize(
    ("url", "environ", "tls"),
    [
        ("rabbit.example", {}, None),
        ("amqp://rabbit.example?cacertfile=ca.pem", {"RABBITMQ_SSL_CA_FILE": "ca.pem"}, None),
        ("amqps://rabbit.example", {}, Tls()),
        ("amqps://rabbit.example", {"RABBITMQ_SSL_CA_FILE": "ca.pem"}, Tls(authority="ca.pem")),
        ("rabbit.example", CLIENT, Tls(certificate="client.pem", key="client.key")),
        (
            "amqp://rabbit.example?cacertfile=url.pem",
            CLIENT | {"RABBITMQ_SSL_CA_FILE": "ca.pem", "RABBITMQ_SSL_KEY_PASSWORD": "secret"},
            Tls(authority="url.pem", certificate="client.pem", key="client.key", key_password="secret"),
        ),
        (
            "amqps://rabbit.example",
            {"RABBITMQ_SSL_CLIENT_CERTIFICATE": "", "RABBITMQ_SSL_CLIENT_KEY": "", "RABBITMQ_SSL_CA_FILE": ""},
            Tls(),
        ),
    ],
)
def test_tls_is_switched_on_by_the_url_or_by_a_certificate(url: str, environ: dict[str, str], tls: Tls | None) -> None:
    assert options(RASA | {"url": url}, environ).tls == tls


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("RABBITMQ_SSL_CLIENT_CERTIFICATE", "RABBITMQ_SSL_CLIENT_KEY"),
        ("RABBITMQ_SSL_CLIENT_KEY", "RABBITMQ_SSL_CLIENT_CERTIFICATE"),
    ],
)
def test_a_certificate_and_its_key_belong_together(given: str, missing: str) -> None:
    sentence = f"the variable {given} is set, and {missing} is not: TLS needs both or none"
    assert faults(RASA, {given: "client.pem"}) == {"url": sentence}


# ---- what is declared and published ----


@pytest.mark.parametrize(
    ("keys", "queues"),
    [
        ({"queues": "one"}, ("one",)),
        ({"queues": ["one", "two", "one"]}, ("one", "two")),
        ({"queue": "old"}, ("old",)),
        ({"queues": ["one"], "queue": "old"}, ("one",)),
        ({"queues": []}, ("rasa_core_events",)),
        ({"queues": None}, ("rasa_core_events",)),
    ],
)
def test_queues_are_a_list_or_one_name(keys: dict[str, Any], queues: tuple[str, ...]) -> None:
    assert options(RASA | keys).queues == queues


@pytest.mark.parametrize(
    ("keys", "binding_key"),
    [
        ({}, ""),
        ({"routing_key": "{type}"}, ""),
        ({"exchange_type": "topic", "routing_key": "{type}.{conversation}"}, "#"),
        ({"exchange_type": "topic", "routing_key": "{type}", "binding_key": "user"}, "user"),
        ({"exchange_type": "direct", "routing_key": "events"}, "events"),
        ({"exchange_type": "direct", "routing_key": "{type}", "binding_key": "user"}, "user"),
    ],
)
def test_queues_are_bound_so_that_they_get_everything_unless_a_key_says_otherwise(
    keys: dict[str, Any], binding_key: str
) -> None:
    found = options(RASA | keys)
    assert (found.routing_key, found.binding_key) == (keys.get("routing_key", ""), binding_key)


def test_the_environment_is_the_app_id() -> None:
    assert options(RASA, {"RASA_ENVIRONMENT": "production"}).app_id == "production"


def test_keys_that_mean_nothing_here_are_known_all_the_same() -> None:
    keys = {
        "connection_attempts": 3,
        "retry_delay_in_seconds": 1.5,
        "should_keep_unpublished_messages": False,
        "raise_on_failure": "true",
    }
    given = Options(RASA | keys | {"queue": "old", "port": 5672, "typo": 1}, {})
    read(given)
    given.check()
    assert given.unknown == ("typo",)


@pytest.mark.parametrize(
    ("keys", "key", "sentence"),
    [
        ({"port": "many"}, "port", "must be a whole number, is 'many'"),
        ({"port": 0}, "port", "must be from 1 to 65535, is 0"),
        ({"window": 0}, "window", "must be from 1 to 65535, is 0"),
        ({"max_message_bytes": 0}, "max_message_bytes", "must be from 1 to"),
        ({"exchange_type": "headers"}, "exchange_type", "must be one of fanout, topic, direct, is 'headers'"),
        ({"queue_type": "stream"}, "queue_type", "must be one of classic, quorum, is 'stream'"),
        ({"exchange_durable": "maybe"}, "exchange_durable", "must be true or false, is 'maybe'"),
        ({"exchange_name": "x" * 256}, "exchange_name", "must have at most 255 bytes, has 256: 'xxx"),
        ({"queues": [""]}, "queues", "a queue needs a name"),
        ({"queues": ["é" * 128]}, "queues", "must have at most 255 bytes, has 256: 'ééé"),
        ({"routing_key": "{sender}"}, "routing_key", "knows {type} and {conversation}, and not {sender}"),
        (
            {"exchange_type": "direct", "routing_key": "{type}"},
            "binding_key",
            "is missing: no key fits all messages of a direct exchange, by '{type}'",
        ),
    ],
)
def test_a_fault_names_key_and_value(keys: dict[str, Any], key: str, sentence: str) -> None:
    ((named, said),) = faults(RASA | keys).items()
    assert named == key
    assert said.startswith(sentence)


def test_an_environment_that_is_too_long_for_amqp_is_a_fault() -> None:
    assert "RASA_ENVIRONMENT must have at most 255 bytes" in faults(RASA, {"RASA_ENVIRONMENT": "x" * 256})["type"]
