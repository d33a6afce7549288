"""The flags of `turnlog run`, in one table: the command line, the environment and the help text are made from it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Kind = Literal["text", "texts", "secret", "secrets", "whole", "switch"]


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag.

    Attributes:
        name: its key among the flags' values; `TURNLOG_<NAME>` is its environment form.
        spellings: without their leading dashes; messages use the first. An underscore does for a dash.
        kind: what its value is; `secrets` and `texts` may be several, `secret` and `secrets` may be in a file that
            `TURNLOG_<NAME>_FILE` names.
        metavar: what the help text calls the value.
        default: in words, for the help text.
        low: the smallest value of a whole number.
        high: the largest one.
    """

    name: str
    spellings: tuple[str, ...]
    kind: Kind
    group: str
    help: str
    metavar: str = ""
    default: str = ""
    low: int = 0
    high: int = 2**31 - 1

    @property
    def spelling(self) -> str:
        """The flag as messages name it."""
        return "--" + self.spellings[0]

    @property
    def variable(self) -> str:
        """The flag's environment variable."""
        return "TURNLOG_" + self.name.upper()


_MODEL, _SERVER, _AUTH, _TLS = "Model and files", "HTTP server", "Authentication", "TLS"
_DATABASE, _LOG = "Database", "Logging"

FLAGS: Final = (
    Flag(
        name="model",
        spellings=("model", "m", "core", "d"),
        kind="text",
        group=_MODEL,
        metavar="PATH",
        default="models",
        help="A model's archive, a folder of archives (the newest is used), or a project's folder. "
        "A path at the end of the command line means the same.",
    ),
    Flag(
        name="nlu",
        spellings=("nlu", "u"),
        kind="text",
        group=_MODEL,
        metavar="PATH",
        help="The NLU model, where it is apart from the rest as in early versions of Rasa.",
    ),
    Flag(
        name="remote_storage",
        spellings=("remote-storage",),
        kind="text",
        group=_MODEL,
        metavar="NAME",
        help="Take the model from a storage: aws, gcs, azure, or a class by its dotted path.",
    ),
    Flag(
        name="endpoints",
        spellings=("endpoints",),
        kind="text",
        group=_MODEL,
        metavar="FILE",
        default="endpoints.yml",
        help="Where tracker store, event broker, action server and so on are.",
    ),
    Flag(
        name="credentials",
        spellings=("credentials",),
        kind="text",
        group=_MODEL,
        metavar="FILE",
        default="credentials.yml, if it is there",
        help="Channels and their credentials.",
    ),
    Flag(
        name="connector",
        spellings=("connector", "c"),
        kind="text",
        group=_MODEL,
        metavar="NAME",
        help="Start this channel and no other.",
    ),
    Flag(
        name="interface",
        spellings=("interface", "i"),
        kind="text",
        group=_SERVER,
        metavar="ADDRESS",
        default="0.0.0.0 with authentication, else 127.0.0.1",
        help="Address to listen on.",
    ),
    Flag(
        name="port",
        spellings=("port", "p"),
        kind="whole",
        group=_SERVER,
        metavar="NUMBER",
        default="5005",
        high=65_535,
        help="Port to listen on.",
    ),
    Flag(
        name="enable_api",
        spellings=("enable-api",),
        kind="switch",
        group=_SERVER,
        help="Serve the HTTP API; without it only `/`, the webhooks, and the pages for probes and metrics are there.",
    ),
    Flag(
        name="protocol",
        spellings=("protocol",),
        kind="text",
        group=_SERVER,
        metavar="VERSION",
        default="3.6",
        help="Which age of Rasa the tracker endpoints speak, and how new conversations begin: 3.6 or 0.9.",
    ),
    Flag(
        name="cors",
        spellings=("cors",),
        kind="texts",
        group=_SERVER,
        metavar="[ORIGIN ...]",
        help="Origins whose pages may call the API from a browser; '*' is all of them.",
    ),
    Flag(
        name="response_timeout",
        spellings=("response-timeout",),
        kind="whole",
        group=_SERVER,
        metavar="SECONDS",
        default="3600",
        low=1,
        help="How long an answer may take.",
    ),
    Flag(
        name="request_timeout",
        spellings=("request-timeout",),
        kind="whole",
        group=_SERVER,
        metavar="SECONDS",
        default="300",
        low=1,
        help="How long the console waits for an answer.",
    ),
    Flag(
        name="access_log",
        spellings=("access-log",),
        kind="switch",
        group=_SERVER,
        help="Log every request; tokens in its query are left out.",
    ),
    Flag(
        name="auth_token",
        spellings=("auth-token", "t"),
        kind="secrets",
        group=_AUTH,
        metavar="TOKEN",
        help="Accept requests with this token, `?token=...`. Several: give the flag again, or write one a line in the "
        "variable or file.",
    ),
    Flag(
        name="jwt_secret",
        spellings=("jwt-secret",),
        kind="secrets",
        group=_AUTH,
        metavar="SECRET",
        help="Accept JWTs signed with this secret; for RS, ES and PS methods, with the private part of this public "
        "key (PEM). A path of a file means its content. Several: as with tokens.",
    ),
    Flag(
        name="jwt_method",
        spellings=("jwt-method",),
        kind="text",
        group=_AUTH,
        metavar="NAME",
        default="HS256",
        help="The one algorithm that JWTs may be signed with.",
    ),
    Flag(
        name="jwt_leeway",
        spellings=("jwt-leeway",),
        kind="whole",
        group=_AUTH,
        metavar="SECONDS",
        default="180",
        help="How far clocks may differ when a JWT's times are checked.",
    ),
    Flag(
        name="jwt_private_key",
        spellings=("jwt-private-key",),
        kind="secret",
        group=_AUTH,
        metavar="KEY",
        help="Accepted and ignored: JWTs are verified here, never signed.",
    ),
    Flag(
        name="webhook_auth",
        spellings=("webhook-auth",),
        kind="switch",
        group=_AUTH,
        help="Ask for the token or a JWT at the channels' webhooks and sockets as well. A JWT's user may only use the "
        "conversation whose id is the username.",
    ),
    Flag(
        name="ssl_certificate",
        spellings=("ssl-certificate",),
        kind="text",
        group=_TLS,
        metavar="FILE",
        help="Serve HTTPS with this certificate.",
    ),
    Flag(
        name="ssl_keyfile",
        spellings=("ssl-keyfile",),
        kind="text",
        group=_TLS,
        metavar="FILE",
        help="The certificate's private key.",
    ),
    Flag(
        name="ssl_ca_file",
        spellings=("ssl-ca-file",),
        kind="text",
        group=_TLS,
        metavar="FILE",
        help="Authorities that sign clients' certificates.",
    ),
    Flag(
        name="ssl_password",
        spellings=("ssl-password",),
        kind="secret",
        group=_TLS,
        metavar="PASSWORD",
        help="Password of the private key.",
    ),
    Flag(
        name="data_dir",
        spellings=("data-dir",),
        kind="text",
        group=_DATABASE,
        metavar="FOLDER",
        default="$XDG_DATA_HOME/turnlog or ~/.local/share/turnlog",
        help="Where the embedded Postgres keeps its data, if neither DATABASE_URL nor tracker_store names a database.",
    ),
    Flag(
        name="verbose",
        spellings=("verbose", "v"),
        kind="switch",
        group=_LOG,
        help="Log at level INFO; -vv is --debug.",
    ),
    Flag(name="debug", spellings=("debug", "vv"), kind="switch", group=_LOG, help="Log at level DEBUG."),
    Flag(name="quiet", spellings=("quiet",), kind="switch", group=_LOG, help="Log at level WARNING."),
    Flag(
        name="log_file",
        spellings=("log-file", "out", "o"),
        kind="text",
        group=_LOG,
        metavar="FILE",
        help="Log into this file as well; it is opened again on SIGHUP, and after it was moved.",
    ),
    Flag(
        name="logging_config_file",
        spellings=("logging-config-file",),
        kind="text",
        group=_LOG,
        metavar="FILE",
        help="A YAML file for Python's logging.config, used in place of all other logging flags.",
    ),
    Flag(
        name="use_syslog", spellings=("use-syslog",), kind="switch", group=_LOG, help="Log to a syslog server as well."
    ),
    Flag(
        name="syslog_address",
        spellings=("syslog-address",),
        kind="text",
        group=_LOG,
        metavar="ADDRESS",
        default="localhost",
        help="Its address.",
    ),
    Flag(
        name="syslog_port",
        spellings=("syslog-port",),
        kind="whole",
        group=_LOG,
        metavar="NUMBER",
        default="514",
        low=1,
        high=65_535,
        help="Its port.",
    ),
    Flag(
        name="syslog_protocol",
        spellings=("syslog-protocol",),
        kind="text",
        group=_LOG,
        metavar="UDP|TCP",
        default="UDP",
        help="Its protocol.",
    ),
)

BY_NAME: Final = {flag.name: flag for flag in FLAGS}
