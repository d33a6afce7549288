"""endpoints.yml as Rasa reads it, where that is right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.endpoints import Endpoints, InvalidEndpoints, load, parse

if TYPE_CHECKING:
    from pathlib import Path


def read(text: str, **environ: str) -> Endpoints:
    return parse(text, "endpoints.yml", environ)


def faults(text: str, **environ: str) -> tuple[str, ...]:
    with pytest.raises(InvalidEndpoints) as caught:
        read(text, **environ)
    return caught.value.faults


@pytest.mark.parametrize("text", ["", "# nothing\n", "nlu:\nmodels: null\n", "something_else: 5\n"])
def test_what_is_missing_empty_or_unknown_is_no_section(text: str) -> None:
    assert read(text) == Endpoints(file="endpoints.yml")


def test_an_endpoint_has_all_its_keys() -> None:
    endpoint = read(
        """
        action_endpoint:
          url: http://actions:5055/webhook
          params: {a: 1}
          headers: {X-Number: 5}
          basic_auth: {username: ann, password: 1234}
          token: 99
          token_name: key
          cafile: /ca.pem
          enable_selective_domain: true
        """
    ).action_endpoint
    assert endpoint is not None
    assert (endpoint.url, endpoint.params, endpoint.headers) == (
        "http://actions:5055/webhook",
        {"a": 1},
        {"X-Number": "5"},
    )
    assert endpoint.basic_auth is not None
    assert (endpoint.basic_auth.username, endpoint.basic_auth.password.value) == ("ann", "1234")
    assert endpoint.token is not None
    assert (endpoint.token.value, endpoint.token_name, endpoint.cafile) == ("99", "key", "/ca.pem")
    assert endpoint.extra == {"enable_selective_domain": True}


def test_an_endpoint_shows_its_address_and_nothing_that_could_be_secret() -> None:
    text = "nlg: {url: 'http://u:hidden@nlg/x?token=hidden', token: hidden, headers: {A: hidden}, password: hidden}"
    assert repr(read(text).nlg) == "Endpoint(http://nlg/x)"


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("${HOST}:${PORT}", "db:5432"),
        ("$HOST-${PORT}", "db-5432"),
        ("'${HOST}'", "db"),
        ('"${HOST}"', "db"),
        ("${EMPTY}", ""),
        ("$HOST", "$HOST"),
        ("a$b${PORT}", "a$b5432"),
        ("${DOLLAR}", "${HOST}"),
    ],
)
def test_variables_are_put_into_a_text_that_holds_one_in_braces(scalar: str, value: str) -> None:
    environ = {"HOST": "db", "PORT": "5432", "EMPTY": "", "DOLLAR": "${HOST}", "b": "$b"}
    endpoint = read(f"nlu:\n  url: {scalar}\n", **environ).nlu
    assert endpoint is not None
    assert endpoint.url == value


def test_variables_are_put_into_keys_and_lists() -> None:
    (broker,) = read("event_broker: {type: file, path: '${P}', '${K}': 1}", P="p", K="k").event_brokers
    assert broker.options == {"type": "file", "path": "p", "k": 1}
    assert broker.unknown == ("k",)


def test_every_missing_variable_is_named_with_its_line_and_key() -> None:
    text = "nlu:\n  url: http://${NLU_HOST}/\nevent_broker:\n  type: file\n  path:\n  - '${QUEUE:-q}'\n"
    assert faults(text) == (
        "endpoints.yml:2: nlu.url: the environment variable NLU_HOST is not set",
        "endpoints.yml:6: event_broker.path.0: ${QUEUE:-q} does not name an environment variable; "
        "defaults are not supported",
        "endpoints.yml:5: event_broker.path: must be text, is a list",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nlu: {url: a, url: b}", "endpoints.yml:1: the key 'url' comes twice"),
        ("event_broker: {type: file, '${K}': 1, k: 2}", "endpoints.yml:1: event_broker.k: the key 'k' comes twice"),
        ("- nlu", "endpoints.yml:1: must be a mapping of sections"),
        ("nlu: http://nlu", "endpoints.yml:1: nlu: must be a mapping, is text"),
        ("\nlock_store: [redis]", "endpoints.yml:2: lock_store: must be a mapping, is a list"),
        ("event_broker: [{type: file}, 5]", "endpoints.yml:1: event_broker.1: must be a mapping, is a number"),
        ("nlu: {url: [a]}", "endpoints.yml:1: nlu.url: must be text, is a list"),
        ("nlu: {params: a}", "endpoints.yml:1: nlu.params: must be a mapping, is text"),
        ("nlu: {basic_auth: {username: a}}", "endpoints.yml:1: nlu.basic_auth: needs a password"),
        ("models: {wait_time_between_pulls: often}",
         "endpoints.yml:1: models.wait_time_between_pulls: must be a number of seconds, is 'often'"),
        ("models: {wait_time_between_pulls: -1}",
         "endpoints.yml:1: models.wait_time_between_pulls: must be a number of seconds, is -1"),
        ("models: {wait_time_between_pulls: true}",
         "endpoints.yml:1: models.wait_time_between_pulls: must be a number of seconds, is True"),
        ("tracker_store: {type: SQL, dialect: postgresql, port: five}",
         "endpoints.yml:1: tracker_store.port: must be a whole number, is 'five'"),
    ],
)  # fmt: skip
def test_a_fault_names_file_line_key_and_what_is_wrong(text: str, fault: str) -> None:
    assert faults(text, K="k") == (fault,)


@pytest.mark.parametrize(
    "section",
    [
        "{type: redis, url: localhost}",
        "{type: mongod}",
        "{type: dynamo}",
        "{store_type: my.module.Store}",
        "{type: SQL}",
        "{type: sql, dialect: sqlite, db: rasa.db}",
        "{type: SQL, dialect: mysql, url: db}",
        "{type: SQL, dialect: postgresql, url: 'mysql://db/x'}",
    ],
)
def test_a_tracker_store_that_is_not_postgres_is_a_fault_that_says_what_to_do(section: str) -> None:
    (fault,) = faults(f"tracker_store: {section}")
    assert fault.startswith("endpoints.yml:1: tracker_store.")
    assert "is not supported" in fault
    assert "DATABASE_URL" in fault


@pytest.mark.parametrize("section", ["{}", "{db: x}", "{type: null}", "~"])
def test_a_tracker_store_without_a_type_is_the_default(section: str) -> None:
    assert read(f"tracker_store: {section}").tracker_store is None


def test_a_tracker_store_has_the_keys_of_rasa() -> None:
    store = read(
        "tracker_store: {type: sql, dialect: postgresql, url: db, port: '${P}', db: rasa, username: ann, "
        "password: 007, login_db: postgres, query: {sslmode: [disable, require]}}",
        P="5433",
    ).tracker_store
    assert store is not None
    assert store.url is not None
    assert store.password is not None
    assert (store.url.value, store.port, store.db, store.username) == ("db", 5433, "rasa", "ann")
    assert (store.password.value, store.login_db, store.query) == ("7", "postgres", {"sslmode": "require"})


@pytest.mark.parametrize("pause", ["null", "None", "'null'", "''", "0", "'0'", "~", ""])
def test_models_are_pulled_once_if_the_pause_is_nothing(pause: str) -> None:
    models = read(f"models:\n  url: http://m\n  wait_time_between_pulls: {pause}\n").models
    assert models is not None
    assert models.pull_seconds is None


@pytest.mark.parametrize(
    ("line", "seconds"), [("", 100), ("wait_time_between_pulls: 10", 10), ("wait_time_between_pulls: '7'", 7)]
)
def test_models_are_pulled_again_after_the_pause(line: str, seconds: float) -> None:
    models = read(f"models:\n  url: http://m\n  {line}\n").models
    assert models is not None
    assert (models.pull_seconds, models.extra) == (seconds, {})


def test_brokers_may_be_one_section_or_a_list() -> None:
    assert [broker.type for broker in read("event_broker: {type: file}").event_brokers] == ["file"]
    two = read("event_broker:\n- type: file\n- {store_type: FILE, name: second}\n").event_brokers
    assert [(broker.type, broker.name, broker.place) for broker in two] == [
        ("file", "file", "endpoints.yml:2: event_broker.0"),
        ("file", "second", "endpoints.yml:3: event_broker.1"),
    ]


def test_two_brokers_of_one_name_are_a_fault() -> None:
    assert faults("event_broker:\n- type: file\n- type: file\n") == (
        "endpoints.yml:3: event_broker.1: two brokers are named 'file': give one another `name`",
    )


def test_a_fault_of_a_broker_names_the_line_of_its_key() -> None:
    assert faults("event_broker:\n  type: file\n  start: later\n") == (
        "endpoints.yml:3: event_broker.start: must be one of beginning, now, is 'later'",
    )


def test_a_broker_does_not_show_its_password() -> None:
    shown = repr(read("event_broker: {type: file, password: hidden}").event_brokers)
    assert shown == "(EventBroker(file, file),)"


def test_a_file_that_can_not_be_read_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yml").write_bytes(b"\xff")
    for path in (tmp_path, tmp_path / "endpoints.yml"):
        with pytest.raises(InvalidEndpoints, match=path.name):
            load(path, {})


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab${}:-", max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text("ab", max_size=3), children, max_size=3),
    max_leaves=6,
)


_SECTIONS = ["models", "nlu", "tracker_store", "event_broker", "lock_store"]
_KEYS = ["url", "params", "headers", "basic_auth", "token", "type", "query", "port", "wait_time_between_pulls"]


@given(section=st.sampled_from(_SECTIONS), key=st.sampled_from(_KEYS), value=_VALUES, whole=st.booleans())
def test_any_value_anywhere_is_read_or_a_named_fault(section: str, key: str, value: Any, whole: bool) -> None:
    document = {section: value if whole else {key: value}}
    assert all(fault.startswith("endpoints.yml:1") for fault in _faults_or_none(json.dumps(document)))


def _faults_or_none(text: str) -> tuple[str, ...]:
    try:
        read(text)
    except InvalidEndpoints as error:
        return error.faults
    return ()
