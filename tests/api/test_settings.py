"""Flags, environment, defaults: what the service is told."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import asyncpg.connect_utils
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from api import database
from api.credentials import Credentials
from api.database import EmbeddedDatabase, PostgresDatabase
from api.endpoints import TrackerStore
from api.flags import BY_NAME, FLAGS
from api.settings import InvalidSettings, Level, Settings, load
from assistant.channels.socket_settings import SocketSettings
from assistant.secret import Secret, public_url

HOME = {"HOME": "/home/ann"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - never listened on
LONG = "a-secret-that-is-long-enough-for-hs256"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(*, environ: dict[str, str] | None = None, **flags: Any) -> Settings:
    return load(flags, HOME | (environ or {}))


def faults(*, environ: dict[str, str] | None = None, **flags: Any) -> tuple[str, ...]:
    with pytest.raises(InvalidSettings) as caught:
        settings(environ=environ, **flags)
    return caught.value.faults


def notices(given: Settings) -> list[str]:
    return [notice.text for notice in given.notices]


def postgres(given: Settings) -> PostgresDatabase:
    assert isinstance(given.database, PostgresDatabase)
    return given.database


def test_without_anything_the_defaults_are_those_of_rasa_but_for_the_interface() -> None:
    given = settings()
    assert (given.interface, given.port, given.enable_api, given.cors) == ("127.0.0.1", 5005, False, ())
    assert (given.limits.response_timeout, given.request_timeout) == (3600, 300)
    assert (given.limits.request_max_size, given.limits.keep_alive_timeout, given.limits.backlog) == (
        100_000_000,
        120,
        100,
    )
    assert (given.workers, given.model, given.schema) == (1, Path("models"), "turnlog")


def test_a_flag_wins_over_its_variable_and_that_over_the_default() -> None:
    assert settings(environ={"TURNLOG_PORT": "6000"}, port=7000).port == 7000
    assert settings(environ={"TURNLOG_PORT": "6000"}).port == 6000
    assert settings(environ={"TURNLOG_PORT": ""}).port == 5005


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.kind == "text"], ids=lambda flag: flag.name)
def test_every_text_has_a_form_in_the_environment(flag: Any, folder: Path) -> None:
    values = {"jwt_method": "HS512", "syslog_protocol": "TCP", "connector": "socketio", "protocol": "0.9"}
    value = {**values, "remote_storage": "aws"}.get(flag.name, "given")
    for name in ("given", "cert.pem"):
        (folder / name).write_text("")
    others: dict[str, Any] = {"jwt_secret": (LONG,), "use_syslog": True, "ssl_certificate": "cert.pem"}
    environ = HOME | {"BUCKET_NAME": "models"}
    by_flag = load(others | {flag.name: value}, environ)
    assert by_flag == load(_without(others, flag.name), environ | {flag.variable: value})
    assert by_flag != load(others, environ)


def test_a_protocol_of_no_known_age_is_refused() -> None:
    with pytest.raises(InvalidSettings) as refused:
        settings(protocol="0.8")
    assert refused.value.faults == ("--protocol: must be one of 3.6, 0.9, is '0.8'",)


def _without(flags: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in flags.items() if key != name}


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag.kind == "switch"], ids=lambda flag: flag.name)
def test_every_switch_has_a_form_in_the_environment(flag: Any) -> None:
    token: dict[str, Any] = {"auth_token": ("t",)}
    assert load({**token, flag.name: True}, HOME) == settings(**token, environ={flag.variable: "true"})
    assert settings(**token, environ={flag.variable: "false"}) == settings(**token)


def test_without_authentication_the_service_listens_to_this_machine_and_says_so() -> None:
    given = settings()
    assert given.interface == "127.0.0.1"
    assert any("127.0.0.1" in text for text in notices(given))


def test_with_authentication_the_service_listens_to_every_machine() -> None:
    assert settings(auth_token=("t",)).interface == EVERYWHERE
    assert settings(jwt_secret=(LONG,)).interface == EVERYWHERE


def test_an_open_service_for_other_machines_is_warned_of() -> None:
    given = settings(interface=EVERYWHERE)
    assert given.interface == EVERYWHERE
    assert any("everybody" in text for text in notices(given))


def test_several_tokens_come_from_several_flags() -> None:
    assert settings(auth_token=("old", "new")).auth.tokens == (Secret("old"), Secret("new"))


def test_several_tokens_come_from_the_lines_of_a_variable_or_file(folder: Path) -> None:
    (folder / "tokens").write_text("old\r\n\nnew\n")
    expected = (Secret("old"), Secret("new"))
    assert settings(environ={"TURNLOG_AUTH_TOKEN": "old\nnew"}).auth.tokens == expected
    assert settings(environ={"TURNLOG_AUTH_TOKEN_FILE": "tokens"}).auth.tokens == expected


def test_a_key_in_pem_format_is_one_secret_among_others() -> None:
    keys = [_public_key(), _public_key()]
    given = settings(environ={"TURNLOG_JWT_SECRET": "\n".join(keys), "TURNLOG_JWT_METHOD": "ES256"})
    assert given.auth.jwt is not None
    assert [secret.value for secret in given.auth.jwt.secrets] == [key.strip() for key in keys]


def _public_key() -> str:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def test_a_jwt_secret_that_is_the_path_of_a_file_means_what_the_file_holds_with_and_without_the_last_line_end(
    folder: Path,
) -> None:
    (folder / "secret").write_text(f"{LONG}\n")
    given = settings(jwt_secret=("secret",))
    assert given.auth.jwt is not None
    assert given.auth.jwt.secrets == (Secret(LONG), Secret(f"{LONG}\n"))


def test_a_short_shared_secret_is_accepted_with_a_warning() -> None:
    given = settings(jwt_secret=("sec",))
    assert given.auth.jwt is not None
    assert any("can be guessed" in text for text in notices(given))


def test_a_secret_on_the_command_line_is_warned_of() -> None:
    assert any("TURNLOG_AUTH_TOKEN_FILE" in text for text in notices(settings(auth_token=("t",))))
    assert not any("TURNLOG_AUTH_TOKEN_FILE" in text for text in notices(settings(environ={"TURNLOG_AUTH_TOKEN": "t"})))


@pytest.mark.parametrize("blank", ["", "  ", "\n"])
@pytest.mark.parametrize("name", ["auth_token", "jwt_secret", "ssl_password"])
def test_an_empty_secret_is_a_fault_and_does_not_turn_authentication_off(name: str, blank: str, folder: Path) -> None:
    (folder / "blank").write_text(blank)
    flag = BY_NAME[name]
    with pytest.raises(InvalidSettings, match=f"^{flag.spelling}: is empty; give a secret, or leave it out$"):
        load({name: (blank,)}, HOME)
    assert faults(environ={flag.variable: blank})[0].startswith(f"{flag.variable}: is empty")
    assert faults(environ={flag.variable + "_FILE": "blank"})[0].startswith(f"{flag.variable}_FILE: is empty")


def test_a_secret_file_that_can_not_be_read_is_a_fault_with_variable_and_path(folder: Path) -> None:
    (folder / "latin").write_bytes(b"\xff")
    assert faults(environ={"TURNLOG_AUTH_TOKEN_FILE": "/none"}) == (
        "TURNLOG_AUTH_TOKEN_FILE: /none: No such file or directory",
    )
    assert faults(environ={"DATABASE_URL_FILE": "latin"}) == ("DATABASE_URL_FILE: latin: is not text in UTF-8",)


def test_a_secret_given_twice_is_a_fault(folder: Path) -> None:
    (folder / "token").write_text("t")
    environ = {"TURNLOG_AUTH_TOKEN": "t", "TURNLOG_AUTH_TOKEN_FILE": "token"}
    assert faults(environ=environ) == (
        "TURNLOG_AUTH_TOKEN and TURNLOG_AUTH_TOKEN_FILE are both set: unset one of them",
    )


def test_a_public_key_as_shared_secret_is_a_fault() -> None:
    (fault,) = faults(jwt_secret=(_public_key(),))
    assert fault.startswith("--jwt-secret: is an asymmetric key")


def test_all_faults_are_told_at_once() -> None:
    environ = {
        "TURNLOG_PORT": "many",
        "TURNLOG_JWT_METHOD": "none",
        "TURNLOG_JWT_LEEWAY": "-1",
        "TURNLOG_SSL_CERTIFICATE": "/none.pem",
        "TURNLOG_ENABLE_API": "perhaps",
        "TURNLOG_USE_SYSLOG": "true",
        "TURNLOG_SYSLOG_PROTOCOL": "HTTP",
        "SANIC_REQUEST_MAX_SIZE": "big",
        "LOG_LEVEL": "loud",
        "POSTGRESQL_SCHEMA": "x" * 64,
        "DATABASE_URL": "mysql://ann:hidden@db/x",
    }
    told = faults(environ=environ)
    named = sorted(fault.partition(":")[0] for fault in told)
    assert named == sorted(
        name if name != "TURNLOG_SYSLOG_PROTOCOL" else "--syslog-protocol"
        for name in environ
        if name != "TURNLOG_USE_SYSLOG"
    )
    assert "hidden" not in " ".join(told)


def test_origins_come_from_flags_or_from_a_variable() -> None:
    assert settings(cors=("*",)).cors == ("*",)
    assert settings(environ={"TURNLOG_CORS": "http://a, http://b"}).cors == ("http://a", "http://b")


@pytest.mark.parametrize(("workers", "started"), [("4", 4), ("0", 1), ("-2", 1), ("many", 1), ("", 1)])
def test_a_number_of_workers_that_makes_no_sense_means_one(workers: str, started: int) -> None:
    assert settings(environ={"SANIC_WORKERS": workers}).workers == started


def test_settings_of_sanic_are_passed_on_but_for_those_that_are_ours_and_keys_of_jwts() -> None:
    environ = {
        "SANIC_REAL_IP_HEADER": "x-real-ip",
        "SANIC_PROXIES_COUNT": "2",
        "SANIC_OAS": "false",
        "SANIC_BACKLOG": "7",
        "SANIC_KEEP_ALIVE_TIMEOUT": "1.5",
        "SANIC_JWT_SECRET": "hidden",
    }
    given = settings(environ=environ)
    assert given.sanic == {"REAL_IP_HEADER": "x-real-ip", "PROXIES_COUNT": 2, "OAS": False}
    assert (given.limits.backlog, given.limits.keep_alive_timeout) == (7, 1.5)


@pytest.mark.parametrize(
    ("environ", "flags", "level"),
    [
        ({}, {}, "INFO"),
        ({"LOG_LEVEL": "debug"}, {}, "DEBUG"),
        ({"LOG_LEVEL": "DEBUG"}, {"quiet": True}, "WARNING"),
        ({"LOG_LEVEL": "ERROR"}, {"verbose": True}, "INFO"),
        ({"TURNLOG_DEBUG": "1"}, {"quiet": True}, "WARNING"),
        ({"TURNLOG_QUIET": "1"}, {"debug": True}, "DEBUG"),
    ],
)
def test_the_level_of_the_log_is_from_flags_then_the_environment(
    environ: dict[str, str], flags: dict[str, bool], level: Level
) -> None:
    assert settings(environ=environ, **flags).logs.level == level


def test_the_embedded_database_is_in_the_data_directory(folder: Path) -> None:
    assert settings().database == EmbeddedDatabase(Path("/home/ann/.local/share/turnlog"))
    assert settings(environ={"XDG_DATA_HOME": "/share"}).database == EmbeddedDatabase(Path("/share/turnlog"))
    assert settings(data_dir="here").database == EmbeddedDatabase(folder / "here")


def test_without_a_home_the_data_directory_must_be_given() -> None:
    with pytest.raises(InvalidSettings, match="give --data-dir"):
        load({}, {})


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2"])
def test_the_database_url_may_have_any_scheme_of_postgres(scheme: str) -> None:
    given = settings(environ={"DATABASE_URL": f"{scheme}://ann:pw@db:5433/log?sslmode=require"})
    assert postgres(given).dsn.value == "postgresql://ann:pw@db:5433/log?sslmode=require"
    assert postgres(given).database == "log"


def test_the_database_url_wins_over_the_tracker_store_and_says_so(folder: Path) -> None:
    (folder / "endpoints.yml").write_text("tracker_store: {type: SQL, dialect: postgresql, url: other}")
    given = settings(environ={"DATABASE_URL": "postgresql://db/log"})
    assert str(given.database) == "postgresql://db/log (DATABASE_URL)"
    assert "DATABASE_URL is set: endpoints.yml:1: tracker_store is ignored" in notices(given)


def test_parameters_that_only_libpq_knows_are_left_out_with_a_warning() -> None:
    given = settings(environ={"DATABASE_URL": "postgresql://db/log?connect_timeout=3&application_name=x"})
    assert postgres(given).dsn.value == "postgresql://db/log?application_name=x"
    assert any("connect_timeout" in text for text in notices(given))


@pytest.mark.parametrize(
    "url", ["db/log", "postgresql:/db", "http://ann:hidden@db", "postgresql://ann:hid/den@db/log",
            "postgresql://ann:hid#den@db/log", "postgresql://ann:hid?den@db/log", "postgresql://[hidden/log"]
)  # fmt: skip
def test_a_database_url_that_can_not_be_used_is_a_fault_that_does_not_show_it(url: str) -> None:
    (fault,) = faults(environ={"DATABASE_URL": url})
    assert fault.startswith("DATABASE_URL: ")
    assert "hid" not in fault


def connection(dsn: Secret) -> tuple[Any, str, str | None, str]:
    """What asyncpg makes of a DSN: address, user, password, database."""
    names = ["host", "port", "user", "password", "passfile", "database", "ssl", "service", "servicefile", "direct_tls"]
    names += ["server_settings", "target_session_attrs", "krbsrvname", "gsslib"]
    parse: Any = asyncpg.connect_utils._parse_connect_dsn_and_args  # type: ignore[attr-defined]
    addresses, parameters = parse(dsn=dsn.value, **dict.fromkeys(names))
    return addresses[0], parameters.user, parameters.password, parameters.database


_TEXT = st.text(st.characters(min_codepoint=33, codec="utf-8"), min_size=1)


@given(user=_TEXT, password=_TEXT, name=_TEXT, login=_TEXT)
def test_whatever_is_in_a_tracker_store_arrives_at_the_driver(user: str, password: str, name: str, login: str) -> None:
    store = TrackerStore(
        place="x", url=Secret("db:5433"), port=1, username=user, password=Secret(password), db=name, login_db=login
    )
    config = database.from_tracker_store(store)
    assert connection(config.dsn) == (("db", 5433), user, password, name)
    assert config.database == name
    assert config.login_dsn is not None
    assert connection(config.login_dsn) == (("db", 5433), user, password, login)


@pytest.mark.parametrize(
    ("url", "port", "address"),
    [
        ("db", 5433, ("db", 5433)),
        ("db", None, ("db", 5432)),
        ("db:1", 5433, ("db", 1)),
        ("[::1]:5", None, ("::1", 5)),
        ("/run/pg", 5433, "/run/pg/.s.PGSQL.5433"),
        ("postgresql://other:9/x", 5433, ("other", 9)),
    ],
)
def test_the_address_of_a_tracker_store_is_a_host_with_or_without_port_a_socket_or_a_url(
    url: str, port: int | None, address: object
) -> None:
    store = TrackerStore(place="x", url=Secret(url), port=port, username="ann")
    assert connection(database.from_tracker_store(store).dsn)[0] == address


def test_a_tracker_store_without_address_is_at_its_port_where_postgres_usually_is() -> None:
    store = TrackerStore(place="x", port=5433, username="ann", db="log")
    assert database.from_tracker_store(store).dsn.value == "postgresql://ann@/log?port=5433"


def test_a_tracker_store_with_a_port_that_is_none_is_a_fault(folder: Path) -> None:
    (folder / "endpoints.yml").write_text("tracker_store: {type: SQL, dialect: postgresql, url: 'db:many'}")
    assert faults() == ("endpoints.yml:1: tracker_store.url: is neither a host nor host:port",)


def test_an_endpoints_file_that_is_not_there_falls_back_to_the_default_one_with_a_warning(folder: Path) -> None:
    assert "--endpoints: mine.yml: no such file; going on without" in notices(settings(endpoints="mine.yml"))
    (folder / "endpoints.yml").write_text("nlu: {url: http://nlu}")
    given = settings(endpoints="mine.yml")
    assert given.endpoints.nlu is not None
    assert "--endpoints: mine.yml: no such file; using endpoints.yml" in notices(given)


def test_a_lock_store_is_accepted_and_keys_of_a_broker_that_mean_nothing_are_named(folder: Path) -> None:
    (folder / "endpoints.yml").write_text("lock_store: {type: redis}\nevent_broker: {type: file, loglevel: DEBUG}\n")
    told = notices(settings())
    assert "endpoints.yml: lock_store is not needed here, and is ignored" in told
    assert "endpoints.yml:2: event_broker: nothing is known of loglevel; ignored" in told


def test_faults_of_the_endpoints_file_are_told_with_the_others(folder: Path) -> None:
    (folder / "endpoints.yml").write_text("nlu: here")
    assert faults(environ={"LOG_LEVEL": "loud"})[0] == "endpoints.yml:1: nlu: must be a mapping, is text"


def test_credentials_are_taken_from_their_usual_place_if_they_are_there(folder: Path) -> None:
    (folder / "credentials.yml").write_text("socketio:")
    assert settings().credentials == Credentials(socketio=SocketSettings())


def test_without_credentials_there_is_rest_and_a_line_says_so(folder: Path) -> None:
    given = settings()
    assert given.credentials == Credentials(rest=True)
    assert [notice.text for notice in given.notices if "/webhooks/rest/webhook" in notice.text]


def test_credentials_that_are_named_must_be_there(folder: Path) -> None:
    assert faults(credentials="other.yml") == ("--credentials: other.yml: no such file",)


def test_a_connector_needs_no_file(folder: Path) -> None:
    assert settings(connector="socketio").credentials == Credentials(socketio=SocketSettings())
    assert faults(connector="nothing")[0].startswith("--connector: nothing: Failed to find input channel class")


def test_protected_webhooks_need_something_to_be_opened_with(folder: Path) -> None:
    assert "--webhook-auth" in faults(webhook_auth=True)[0]
    assert settings(webhook_auth=True, auth_token=("t",)).auth.webhooks


def test_open_webhooks_beside_a_token_are_warned_of(folder: Path) -> None:
    assert any("--webhook-auth" in text for text in notices(settings(auth_token=("t",))))
    assert not any("--webhook-auth" in text for text in notices(settings(auth_token=("t",), webhook_auth=True)))


def test_several_workers_and_sockets_are_warned_of(folder: Path) -> None:
    given = settings(connector="socketio", environ={"SANIC_WORKERS": "2"})
    assert any("websocket" in text for text in notices(given))


@pytest.mark.parametrize("name", ["m.tar.gz", "m.zip", "domain.yml"])
def test_a_folder_with_an_archive_or_a_domain_holds_a_model(name: str, folder: Path) -> None:
    assert not settings().has_model
    (folder / "models").mkdir()
    assert not settings().has_model
    (folder / "models" / name).write_text("")
    assert settings().has_model


def test_a_model_server_or_a_storage_is_a_model_too(folder: Path) -> None:
    assert settings(remote_storage="aws", environ={"BUCKET_NAME": "b"}).has_model
    (folder / "endpoints.yml").write_text("models: {url: http://models}")
    assert settings().has_model


def secretive(folder: Path) -> Settings:
    (folder / "endpoints.yml").write_text(
        "models: {url: 'http://u:hidden@m/x?k=hidden', token: hidden, headers: {Authorization: hidden}, key: hidden}\n"
        "nlu: {url: http://nlu, basic_auth: {username: ann, password: hidden}, params: {k: hidden}}\n"
        "tracker_store: {type: SQL, dialect: postgresql, url: db, username: ann, password: hidden, login_db: x}\n"
        "event_broker: {type: pika, url: 'amqp://u:hidden@h', username: ann, password: hidden}\n"
    )
    (folder / "cert.pem").write_text("")
    environ = {"TURNLOG_JWT_SECRET": "hidden", "TURNLOG_SSL_PASSWORD": "hidden", "SANIC_JWT_SECRET": "hidden"}
    return settings(environ=environ, auth_token=("hidden",), ssl_certificate="cert.pem")


def test_no_secret_shows_in_the_representation_of_settings(folder: Path) -> None:
    given = secretive(folder)
    assert "hidden" not in repr(given)
    assert "hidden" not in str(given.database)
    assert "hidden" not in repr(given.endpoints.models.__rich_repr__() if given.endpoints.models else "hidden")


def test_settings_travel_to_another_process_as_they_are(folder: Path) -> None:
    given = secretive(folder)
    assert pickle.loads(pickle.dumps(given)) == given  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:hidden@db:5/log?password=hidden", "postgresql://db:5/log"),
        ("postgresql://ann:hid@den@db/log", "postgresql://db/log"),
        ("postgresql://ann:hid/den@db/log", "postgresql://db/log"),
        ("postgresql://ann:hid?den@db/log", "postgresql://***"),
        ("postgresql://ann:hid#den@db/log", "postgresql://***"),
        ("postgresql://db/log?user=a@b&password=hidden", "postgresql://***"),
        ("ann:hidden@db", "db"),
        ("db:5432", "db:5432"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert public_url(url) == shown


# --- models from elsewhere ---


def test_a_storage_without_its_variables_is_a_fault() -> None:
    named = "--remote-storage azure: the environment variable {} is not set"
    variables = ("AZURE_CONTAINER", "AZURE_ACCOUNT_NAME", "AZURE_ACCOUNT_KEY")
    assert faults(remote_storage="azure") == tuple(named.format(variable) for variable in variables)
    missing = "TURNLOG_REMOTE_STORAGE aws: the environment variable BUCKET_NAME is not set"
    assert faults(environ={"TURNLOG_REMOTE_STORAGE": "aws"}) == (missing,)


def test_a_storage_that_nobody_knows_is_a_fault() -> None:
    (fault,) = faults(remote_storage="no_such_module.Class")
    assert fault.startswith("--remote-storage no_such_module.Class: 'no_such_module.Class' is none of aws, gcs, azure")


def test_a_model_server_comes_before_a_storage(tmp_path: Path) -> None:
    file = tmp_path / "endpoints.yml"
    file.write_text("models: {url: http://models/newest}")
    found = settings(remote_storage="aws", endpoints=str(file))
    assert found.remote_storage is None
    assert f"--remote-storage: {file} has a section `models`: the storage is ignored" in notices(found)
