"""Start of a whole service: model, listening socket, database, processes. The one place where all is wired."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import asyncpg
import structlog

from api import tls
from api.background import run_background
from api.database import PostgresDatabase
from api.own_postgres import OwnPostgres
from api.settings import holds_model
from api.shelf import Shelf
from api.supervisor import Child, Supervisor
from api.worker import run_worker
from assistant.archive import load_model
from assistant.project import InvalidModel
from dialogue import InvalidDomain, InvalidYaml
from dialogue.training.files import InvalidTraining
from eventstore import Database, DatabaseNotUsable, StoreUnavailable, embedded
from eventstore import migrate as apply_migrations
from eventstore.database import is_unavailable, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.settings import Settings
    from assistant.model import Model

log = structlog.get_logger("turnlog")

LISTEN_BACKLOG: Final = 1024
WAIT_SECONDS: Final = 5.0  #: between two log lines while the database is not there yet


class CannotStart(Exception):
    """The service can't start; the message is for people."""


def serve(settings: Settings) -> int:
    """Serve until a signal says stop; returns the process's exit status."""
    began = time.monotonic()
    try:
        with _folder("metrics") as folder, _folder("models") as shelf, _listen(settings) as listener:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
            _serve(settings, Path(shelf), listener, began)
    except CannotStart as error:
        log.error(str(error))
        return 1
    return 0


def migrate(settings: Settings) -> list[str]:
    """Bring the database up to date; returns the names of what was applied.

    Raises:
        EventStoreError, EmbeddedPostgresError: it can't be done.
    """
    with open_database(settings) as database:
        return asyncio.run(prepare(settings, database))


def _folder(what: str) -> tempfile.TemporaryDirectory[str]:
    """A folder that only the service's own user can look into, for as long as it runs."""
    return tempfile.TemporaryDirectory(prefix=f"turnlog-{what}-")


def _serve(settings: Settings, shelf: Path, listener: socket.socket, began: float) -> None:
    _check_tls(settings)
    model = _model(settings)
    Shelf.create(shelf, model, str(settings.model))
    given = (settings, model, shelf, listener)
    workers = [Child(f"worker-{n + 1}", run_worker, given) for n in range(settings.workers)]
    background = Child("background", run_background, (settings, shelf))
    supervisor = Supervisor([*workers, background], listener, grace=settings.limits.graceful_shutdown_timeout + 2)
    supervisor.start()
    try:
        with open_database(settings) as database:
            _migrate_patiently(settings, database, supervisor)
            if not supervisor.is_stopping:
                _say_ready(settings, listener, database, began)
                supervisor.run(database)
    except (embedded.EmbeddedPostgresError, DatabaseNotUsable) as error:
        raise CannotStart(str(error)) from error
    finally:
        supervisor.stop()
        log.info("stopped")


@contextmanager
def open_database(settings: Settings) -> Iterator[Database]:
    """The configured database; an embedded server runs for as long as the context lasts."""
    config, patience = settings.database, settings.limits.storage_timeout
    if isinstance(config, PostgresDatabase):
        yield Database(config.dsn.value, settings.schema, patience)
        return
    with closing(OwnPostgres(config.data_dir)) as server:
        yield Database(server.dsn, settings.schema, patience)


def _migrate_patiently(settings: Settings, database: Database, supervisor: Supervisor) -> None:
    """Apply migrations; a database that is not there yet is waited for, as long as nobody says stop."""
    while not supervisor.is_stopping:
        try:
            for name in asyncio.run(prepare(settings, database)):
                log.info("migration applied", name=name)
        except StoreUnavailable as error:
            log.warning("waiting for the database", database=str(settings.database), reason=error.reason)
            supervisor.pause(WAIT_SECONDS)
        else:
            return


async def prepare(settings: Settings, database: Database) -> list[str]:
    """Make the database if that is wanted, and bring it up to date; returns the names of what was applied.

    Raises:
        StoreUnavailable: there is no answer from the server.
        DatabaseNotUsable: it can't be done.
    """
    config = settings.database
    if isinstance(config, PostgresDatabase) and config.login_dsn is not None and config.database is not None:
        try:
            await _create_database(config.login_dsn.value, config.database)
        except Exception as error:
            if not is_unavailable(error):
                raise
            raise StoreUnavailable(reason_of(error)) from error
    return await apply_migrations(database)


async def _create_database(login_dsn: str, name: str) -> None:
    connection = await asyncpg.connect(login_dsn)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
            quoted = name.replace('"', '""')
            await connection.execute(f"CREATE DATABASE \"{quoted}\" ENCODING 'UTF8' TEMPLATE template0")
            log.info("database created", name=name)
    except asyncpg.DuplicateDatabaseError:
        log.info("database was created by another process", name=name)
    finally:
        await connection.close()


def _model(settings: Settings) -> Model | None:
    """The model, if there is one. As in Rasa, a broken one does not stop the service: what needs it answers 409."""
    if settings.endpoints.models is not None or settings.remote_storage is not None:
        return None  # the background process fetches it, while the service serves
    if not holds_model(settings.model):
        log.warning("no model: trackers take their slots from the events", path=str(settings.model))
        return None
    began = time.monotonic()
    try:
        trained = load_model(settings.model, understands_elsewhere=settings.endpoints.nlu is not None)
    except (InvalidModel, InvalidDomain, InvalidTraining, InvalidYaml) as error:
        for line in str(error).splitlines():
            log.error("the model can't be used", path=str(settings.model), fault=line)
        return None
    for warning in trained.warnings:
        log.warning("odd training data", path=str(settings.model), warning=str(warning))
    model, seconds = trained.model, round(time.monotonic() - began, 2)
    log.info("model loaded", model=model.file, model_id=model.id, seconds=seconds)
    return model


def _check_tls(settings: Settings) -> None:
    if settings.tls is None:
        return
    try:
        tls.context(settings.tls)
    except (OSError, ssl.SSLError) as error:
        raise CannotStart(f"--ssl-certificate {settings.tls.certificate}: {error}") from error


def _listen(settings: Settings) -> socket.socket:
    """The listening socket, which all workers share: opened here, so that a taken port is one clear error."""
    family = socket.AF_INET6 if ":" in settings.interface else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.interface, settings.port))
    except OSError as error:
        listener.close()
        raise CannotStart(f"can't listen on {settings.interface} port {settings.port}: {error.strerror}") from error
    listener.listen(LISTEN_BACKLOG)
    return listener


def _say_ready(settings: Settings, listener: socket.socket, database: Database, began: float) -> None:
    host, port = listener.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    scheme = "https" if settings.tls else "http"
    log.info(
        f"serving on {scheme}://{host}:{port}",
        database=str(settings.database),
        schema=database.schema,
        workers=settings.workers,
        api=settings.enable_api,
        seconds=round(time.monotonic() - began, 2),
    )
