"""What a `kafka` section may say, and which of it is refused."""

from __future__ import annotations

from typing import Any

import pytest

from brokers import InvalidOptions
from brokers.kafka_options import Address, KafkaOptions, read
from brokers.options import Options

PLAIN: dict[str, Any] = {"url": "localhost", "security_protocol": "PLAINTEXT"}


def options_of(values: dict[str, Any], environ: dict[str, str] | None = None) -> KafkaOptions:
    options = Options(values, environ or {})
    found = read(options)
    options.check()
    assert not options.unknown
    return found


def faults_of(values: dict[str, Any]) -> dict[str, str]:
    options = Options(values, {})
    read(options)
    with pytest.raises(InvalidOptions) as caught:
        options.check()
    return dict(caught.value.faults)


def test_defaults() -> None:
    assert options_of({"url": "broker", "sasl_username": "u", "sasl_password": "p"}) == KafkaOptions(
        servers=(Address("broker", 9092),),
        topic="rasa_core_events",
        client_id="turnlog",
        partition_by_sender=True,
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="u",
        sasl_password="p",
        ssl_check_hostname=False,
        environment="RASA_ENVIRONMENT_NOT_SET",
        transactional=True,
        compression="none",
    )


def test_every_key_of_rasa_is_known() -> None:
    values = {
        "url": ["a:1", "b:2"],
        "topic": "events",
        "client_id": "rasa",
        "partition_by_sender": False,
        "security_protocol": "sasl_ssl",
        "sasl_username": "u",
        "sasl_password": 1234,
        "sasl_mechanism": "scram-sha-512",
        "ssl_cafile": "ca.pem",
        "ssl_certfile": "cert.pem",
        "ssl_keyfile": "key.pem",
        "ssl_check_hostname": "true",
        "queue_size": 100,
    }
    found = options_of(values, {"RASA_ENVIRONMENT": "production"})
    assert found == KafkaOptions(
        servers=(Address("a", 1), Address("b", 2)),
        topic="events",
        client_id="rasa",
        partition_by_sender=False,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password="1234",
        ssl_cafile="ca.pem",
        ssl_certfile="cert.pem",
        ssl_keyfile="key.pem",
        ssl_check_hostname=True,
        environment="production",
    )


def test_our_own_keys() -> None:
    own = {
        "transactional": "no",
        "compression": "gzip",
        "partitions": 12,
        "replication_factor": "3",
        "max_message_bytes": 2_000_000,
        "batch_bytes": 65_536,
    }
    assert options_of(PLAIN | own) == KafkaOptions(
        servers=(Address("localhost", 9092),),
        security_protocol="PLAINTEXT",
        transactional=False,
        compression="gzip",
        partitions=12,
        replication_factor=3,
        max_message_bytes=2_000_000,
        batch_bytes=65_536,
    )


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("kafka:9093", ["kafka:9093"]),
        ("a:1, b", ["a:1", "b:9092"]),
        (["a:1", "b:2,c:3"], ["a:1", "b:2", "c:3"]),
        ("[::1]:5,10.0.0.1", ["[::1]:5", "10.0.0.1:9092"]),
    ],
)
def test_servers(url: object, servers: list[str]) -> None:
    assert [str(address) for address in options_of(PLAIN | {"url": url}).servers] == servers


@pytest.mark.parametrize("url", ["kafka://a:1", "a:0", "a:65536", "a:b", "a b", "::1", [{"a": 1}]])
def test_what_is_no_server_is_refused(url: object) -> None:
    assert faults_of(PLAIN | {"url": url}).keys() == {"url"}


@pytest.mark.parametrize("url", [None, "", ",", []])
def test_a_missing_url_is_refused(url: object) -> None:
    assert faults_of(PLAIN | {"url": url}) == {
        "url": "is missing: host:port of one or more servers of the cluster",
    }


def test_a_password_in_the_url_is_not_told() -> None:
    assert "secret" not in str(faults_of(PLAIN | {"url": "user:secret@a:1"}))


@pytest.mark.parametrize(
    ("values", "key", "sentence"),
    [
        ({"security_protocol": "TLS"}, "security_protocol", "PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL, is 'TLS'"),
        ({"sasl_mechanism": "MAGIC"}, "sasl_mechanism", "PLAIN, GSSAPI, OAUTHBEARER, SCRAM-SHA-256, SCRAM-SHA-512"),
        ({"topic": "a b"}, "topic", "letters, digits, dots, underscores or dashes, is 'a b'"),
        ({"topic": ".."}, "topic", "must be 1 to 230 letters"),
        ({"topic": "t" * 231}, "topic", "must be 1 to 230 letters"),
        ({"topic": "t" * 250, "transactional": False}, "topic", "must be 1 to 249 letters"),
        ({"ssl_keyfile": "key.pem"}, "ssl_certfile", "is missing: ssl_keyfile is the key of a certificate"),
        ({"compression": "rar"}, "compression", "must be one of none, gzip, snappy, lz4, zstd, is 'rar'"),
        ({"partitions": 0}, "partitions", "must be from 1 to 100000, is 0"),
        ({"replication_factor": 0}, "replication_factor", "must be from 1 to 1000, is 0"),
        ({"max_message_bytes": 10}, "max_message_bytes", "must be from 1000"),
        ({"batch_bytes": "many"}, "batch_bytes", "must be a whole number, is 'many'"),
        ({"transactional": "perhaps"}, "transactional", "must be true or false"),
    ],
)
def test_faults(values: dict[str, Any], key: str, sentence: str) -> None:
    assert sentence in faults_of(PLAIN | values)[key]


def test_sasl_which_is_the_default_needs_a_user_and_a_password() -> None:
    needs = "is missing: security_protocol SASL_PLAINTEXT needs it (PLAINTEXT and SSL do not)"
    assert faults_of({"url": "a"}) == {"sasl_username": needs, "sasl_password": needs}


@pytest.mark.parametrize("mechanism", ["GSSAPI", "OAUTHBEARER"])
def test_mechanisms_of_rasa_that_are_missing_are_refused(mechanism: str) -> None:
    values = {"url": "a", "sasl_username": "u", "sasl_password": "p", "sasl_mechanism": mechanism}
    assert faults_of(values) == {
        "sasl_mechanism": f"{mechanism} is not supported: use one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512",
    }


def test_a_mechanism_means_nothing_without_sasl() -> None:
    assert options_of(PLAIN | {"sasl_mechanism": "GSSAPI"}).sasl_mechanism == "PLAIN"


def test_compression_that_needs_a_package_is_refused_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    assert faults_of(PLAIN | {"compression": "zstd"}) == {
        "compression": "zstd needs the Python package cramjam; none and gzip need no package",
    }


def test_the_password_does_not_show() -> None:
    assert "secret" not in repr(options_of({"url": "a", "sasl_username": "u", "sasl_password": "secret"}))
