"""`turnlog shell`: what people see, by a pipe and at a terminal, alone and beside a service."""

from __future__ import annotations

import json
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from assistant.archive import load_model, save_model
from tests.api.http import new_id
from tests.api.shells import Screen, piped
from tests.api.test_http_reminders import Actions
from tests.model_server import model_server
from tests.pages import Terminal, blocks
from tests.service import PROGRAM, Postgres, free_port, send_signal, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from eventstore import Database
    from tests.api.http import Client
    from tests.service import Service

ROOT: Final = Path(__file__).parent.parent.parent
PAGE: Final = ROOT / "docs" / "shell.md"
DOMAIN = """
version: "3.1"
intents: [greet, bye, menu, show, nasty, order, plan, long, EXTERNAL_short]
entities: [dish]
actions: [action_plan, action_long]
slots:
  dish: {type: text, influence_conversation: false, mappings: [{type: from_entity, entity: dish}]}
responses:
  utter_greet: [{text: "hello\\n\\nhow are you?"}]
  utter_bye: [{text: "see you"}]
  utter_menu:
  - text: "what would you like?"
    buttons: [{title: Enough, payload: /bye}, {title: show it}]
  utter_show:
  - image: http://example.com/a.png
    attachment: http://example.com/b.pdf
    custom: {stars: 5}
  utter_nasty: [{text: "\\e[2Jred\\u009balert"}]
  utter_order: [{text: "{dish} it is"}]
  utter_reminder: [{text: "do not forget"}]
  utter_done: [{text: "done at last"}]
"""
RULES = """
version: "3.1"
rules:
- {rule: greet, steps: [{intent: greet}, {action: utter_greet}]}
- {rule: bye, steps: [{intent: bye}, {action: utter_bye}]}
- {rule: menu, steps: [{intent: menu}, {action: utter_menu}]}
- {rule: show, steps: [{intent: show}, {action: utter_show}]}
- {rule: nasty, steps: [{intent: nasty}, {action: utter_nasty}]}
- {rule: order, steps: [{intent: order}, {action: utter_order}]}
- {rule: plan, steps: [{intent: plan}, {action: action_plan}]}
- {rule: long, steps: [{intent: long}, {action: action_long}, {action: utter_done}]}
- {rule: reminder, steps: [{intent: EXTERNAL_short}, {action: utter_reminder}]}
"""
NLU = """
version: "3.1"
nlu:
- {intent: greet, examples: "- hello\\n- good morning"}
- {intent: bye, examples: "- goodbye\\n- see you"}
- {intent: menu, examples: "- what is there\\n- the menu"}
- {intent: show, examples: "- show it\\n- let me see"}
- {intent: nasty, examples: "- be nasty\\n- be bad"}
- {intent: order, examples: "- an order of pie\\n- an order"}
- {intent: plan, examples: "- remind me\\n- tell me later"}
- {intent: long, examples: "- take long\\n- be slow"}
- {intent: EXTERNAL_short, examples: "- it is time\\n- time is up"}
"""
CONFIG = """
pipeline: [{name: KeywordIntentClassifier}]
policies: [{name: RulePolicy}]
"""
EVENTS_OF_HELLO = """\
       1 action             action_session_start 1.00
       2 session_started
       3 action             action_listen
       4 user               greet 1.00 "hello"
       5 user_featurization by its intent
       6 action             utter_greet RulePolicy 1.00
       7 bot                utter_greet
       8 action             action_listen RulePolicy 1.00
"""


@pytest.fixture(scope="module")
def actions() -> Iterator[Actions]:
    actions = Actions()
    yield actions
    actions.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, actions: Actions) -> Path:
    """A folder with a bot, where shells are started."""
    folder = tmp_path_factory.mktemp("shell")
    files = {"domain.yml": DOMAIN, "data/rules.yml": RULES, "data/nlu.yml": NLU, "config.yml": CONFIG}
    for name, text in files.items():
        (folder / "bot" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "bot" / name).write_text(text)
    (folder / "endpoints.yml").write_text(f"action_endpoint: {{url: '{actions.url}'}}\n")
    return folder


class Bench:
    """Shells of the bot, with a database of their own."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder, self._dsn = folder, database.dsn

    def pipe(self, lines: str, *args: str | Path) -> Any:
        return piped(self.folder, lines, "-m", "bot", *args, DATABASE_URL=self._dsn)

    def answers(self, lines: str, *args: str | Path) -> str:
        """What is printed for these lines, without events."""
        ended = self.pipe(lines, "--no-events", *args)
        assert (ended.returncode, ended.stderr) == (0, "")
        return str(ended.stdout)

    def screen(self, *args: str, columns: int = 80, **environment: str) -> Screen:
        return Screen(self.folder, ["-m", "bot", *args], columns=columns, DATABASE_URL=self._dsn, **environment)


@pytest.fixture
def bench(folder: Path, database: Database) -> Bench:
    return Bench(folder, database)


class TestByAPipe:
    def test_lines_are_answered_one_after_the_other(self, bench: Bench) -> None:
        ended = bench.pipe("hello\ngoodbye\n")
        assert (ended.returncode, ended.stderr) == (0, "")
        answer, events, rest = ended.stdout.partition(EVENTS_OF_HELLO)
        assert (answer, events) == ("hello\nhow are you?\n", EVENTS_OF_HELLO)
        assert rest.startswith('see you\n       9 user               bye 1.00 "goodbye"\n')

    def test_events_can_be_left_out(self, bench: Bench) -> None:
        assert bench.answers("hello\n\ngoodbye") == "hello\nhow are you?\nsee you\n"

    def test_a_line_may_end_it(self, bench: Bench) -> None:
        assert bench.answers("goodbye\n/stop\nhello\n") == "see you\n"

    def test_a_conversation_goes_on(self, bench: Bench) -> None:
        first = bench.answers('/order{"dish": "pie"}\n', "--conversation-id", "anna")
        again = bench.answers(":slots\n", "--conversation-id", "anna")
        assert first == "pie it is\n"
        assert again.startswith('> /order{"dish": "pie"}\npie it is\ndish ')
        assert "= pie\n" in again

    def test_entities_and_slots_are_among_the_events(self, bench: Bench) -> None:
        shown = bench.pipe('/order{"dish": "7 pies"}\n').stdout
        assert 'order 1.00 dish="7 pies" "/order{\\"dish\\": \\"7 pies\\"}"\n' in shown
        assert 'slot               dish = "7 pies"\n' in shown

    def test_all_that_a_bot_can_say_is_shown(self, bench: Bench) -> None:
        assert bench.answers("/show\n").splitlines() == [
            '[custom] {"stars": 5}',
            "[image] http://example.com/a.png",
            "[attachment] http://example.com/b.pdf",
        ]

    def test_a_text_can_do_nothing_to_a_terminal(self, bench: Bench) -> None:
        assert bench.answers("/nasty\n") == "\\x1b[2Jred\\x9balert\n"

    def test_what_an_action_server_does_not_do_is_said(self, bench: Bench) -> None:
        (bench.folder / "away.yml").write_text(f"action_endpoint: {{url: 'http://127.0.0.1:{free_port()}'}}\n")
        ended = bench.pipe("/plan\nhello\n", "--no-events", "--endpoints", "away.yml")
        assert (ended.returncode, ended.stdout) == (0, "hello\nhow are you?\n")
        (line,) = map(json.loads, ended.stderr.splitlines())
        assert "the action 'action_plan' failed" in line["reason"]

    def test_flags_of_a_server_are_accepted(self, bench: Bench) -> None:
        (bench.folder / "channels.yml").write_text("rest:\n")
        flags = ["--enable-api", "-p", "1", "--cors", "*", "-t", "s3cr3t", "--credentials", "channels.yml", "--debug"]
        assert bench.pipe("goodbye\n", "--no-events", *flags).stdout == "see you\n"

    def test_the_debug_flag_shows_more(self, bench: Bench) -> None:
        assert bench.pipe("goodbye\n", "--verbose").stderr != ""


class TestButtons:
    MENU = "what would you like?\n  1: Enough (/bye)\n  2: show it\n"

    def test_are_chosen_by_their_numbers(self, bench: Bench) -> None:
        assert bench.answers("/menu\n1\n/menu\n2\n").startswith(f"{self.MENU}see you\n{self.MENU}[custom] ")

    def test_are_gone_with_the_next_message(self, bench: Bench) -> None:
        assert ' "1"\n' in bench.pipe("/menu\nhello\n1\n").stdout

    def test_do_not_count_for_a_number_behind_a_blank(self, bench: Bench) -> None:
        assert ' "1"\n' in bench.pipe("/menu\n 1\n").stdout

    def test_do_not_count_for_a_number_that_none_has(self, bench: Bench) -> None:
        assert ' "3"\n' in bench.pipe("/menu\n3\n").stdout

    def test_are_still_there_after_a_command(self, bench: Bench) -> None:
        assert bench.answers("/menu\n:help\n1\n").endswith("see you\n")


class TestCommands:
    ORDER = '/order{"dish": "pie"}\n'

    def test_tracker_is_the_state(self, bench: Bench) -> None:
        shown = bench.answers(self.ORDER + ":tracker\n", "--conversation-id", "c").removeprefix("pie it is\n")
        state = json.loads(shown)
        assert (state["sender_id"], state["slots"]["dish"], state["latest_input_channel"]) == ("c", "pie", "cmdline")
        assert "events" not in state

    def test_story_is_that_of_the_session(self, bench: Bench) -> None:
        shown = bench.answers("hello\n:story\n", "--conversation-id", "c")
        assert "- story: c\n  steps:\n  - intent: greet\n" in shown

    def test_undo_takes_the_last_message_back(self, bench: Bench) -> None:
        shown = bench.answers(self.ORDER + ":undo\n:slots\n:undo\n")
        assert 'taken back: /order{"dish": "pie"}\n' in shown
        assert "\ndish                     = null\n" in shown
        assert shown.endswith("there is no message to take back\n")

    def test_restart_forgets(self, bench: Bench) -> None:
        shown = bench.pipe(self.ORDER + ":restart\n:slots\nhello\n").stdout
        assert " restart\n" in shown
        assert "dish                     = null\n" in shown
        assert "hello\nhow are you?\n" in shown

    def test_say_that_there_is_nothing_yet(self, bench: Bench) -> None:
        shown = bench.answers(":tracker\n:slots\n:story\n:undo\n")
        assert shown == "there is nothing in this conversation yet\n" * 4

    def test_that_there_are_not_are_named(self, bench: Bench) -> None:
        ended = bench.pipe(":slot\n")
        assert ended.returncode == 1
        assert ended.stderr == "turnlog: there is no command :slot; :help shows those that there are\n"

    @pytest.mark.parametrize("text", [":p", ":-)", ":Slots", ": slots"])
    def test_are_nothing_else_that_has_a_colon(self, bench: Bench, text: str) -> None:
        assert f' "{text}"\n' in bench.pipe(text + "\n").stdout


class TestUnderstanding:
    def test_is_shown_as_json_without_a_database(self, folder: Path, tmp_path: Path) -> None:
        ended = piped(folder, "hello\n\n/bye\n", "nlu", "bot", "--data-dir", tmp_path / "data")
        assert (ended.returncode, ended.stderr) == (0, "")
        first, second = (json.loads(text) for text in (ended.stdout.replace("\n}\n", "\n}\n\0").split("\0")[:2]))
        assert (first["text"], first["intent"]["name"]) == ("hello", "greet")
        assert second["intent"] == {"name": "bye", "confidence": 1.0}
        assert not (tmp_path / "data").exists()


class TestTheModel:
    def test_may_be_an_archive_or_a_folder_of_archives(self, bench: Bench, tmp_path: Path) -> None:
        save_model(load_model(bench.folder / "bot").model, tmp_path / "bot.tar.gz")
        assert bench.answers("goodbye\n", tmp_path / "bot.tar.gz") == "see you\n"
        assert bench.answers("goodbye\n", "--model", tmp_path) == "see you\n"

    def test_that_is_not_there_is_named(self, folder: Path, tmp_path: Path) -> None:
        ended = piped(folder / "bot", "hello\n", "--data-dir", tmp_path / "data")
        assert (ended.returncode, ended.stdout) == (1, "")
        assert ended.stderr == (
            "turnlog: there is no model at models: give the path of a project or an archive with -m; "
            "this folder is a project: give -m .\n"
        )

    def test_that_has_faults_says_them_all(self, tmp_path: Path) -> None:
        (tmp_path / "bot" / "data").mkdir(parents=True)
        (tmp_path / "bot" / "domain.yml").write_text(DOMAIN + "forms: 7\n")
        (tmp_path / "bot" / "data" / "rules.yml").write_text("rules: 7\n")
        ended = piped(tmp_path, "hello\n", "bot")
        assert ended.returncode == 1
        assert [line.partition(" ")[2].partition(":")[0] for line in ended.stderr.splitlines()] == [
            "domain.yml",
            "data/rules.yml",
            "config.yml",
        ]

    def test_may_come_from_a_model_server(self, bench: Bench, tmp_path: Path) -> None:
        save_model(load_model(bench.folder / "bot").model, tmp_path / "bot.tar.gz")
        with model_server() as server:
            server.give((tmp_path / "bot.tar.gz").read_bytes())
            (bench.folder / "models.yml").write_text(f"models: {{url: '{server.url}'}}\n")
            assert bench.answers("goodbye\n", "--endpoints", "models.yml") == "see you\n"

    def test_that_its_server_does_not_have_is_named(self, folder: Path) -> None:
        url = f"http://127.0.0.1:{free_port()}/model"
        (folder / "models.yml").write_text(f"models: {{url: '{url}'}}\n")
        ended = piped(folder, "hello\n", "--endpoints", "models.yml")
        assert ended.returncode == 1
        assert f"turnlog: {url}: " in ended.stderr


class TestTheCommandLine:
    @pytest.mark.parametrize("id", ["", "a" * 1025])
    def test_refuses_what_is_no_id(self, folder: Path, id: str) -> None:  # noqa: A002
        assert piped(folder, "", "-m", "bot", "--conversation-id", id).returncode == 2

    def test_refuses_a_path_that_is_not_there(self, folder: Path) -> None:
        assert piped(folder, "", "nowhere").returncode == 2

    def test_says_that_there_is_no_database(self, folder: Path) -> None:
        dsn = f"postgresql://turnlog@127.0.0.1:{free_port()}/turnlog"
        ended = piped(folder, "hello\n", "-m", "bot", DATABASE_URL=dsn, TURNLOG_STORAGE_TIMEOUT="1")
        assert ended.returncode == 1
        assert ended.stderr.startswith("turnlog: the database is not available: ")

    def test_says_what_can_be_typed(self, folder: Path) -> None:
        shown = piped(folder, "", "--help").stdout
        assert ":help" in shown
        assert "--conversation-id" in shown
        assert "--ssl-keyfile" not in shown


@contextmanager
def is_long(screen: Screen, actions: Actions) -> Iterator[None]:
    """An action runs until it may end, at the latest behind the block."""
    before = actions.calls.count("action_long")
    actions.may_end.clear()
    try:
        screen.says("/long")
        wait_until(lambda: actions.calls.count("action_long") > before, "the action runs")
        yield
    finally:
        actions.may_end.set()


class TestAtATerminal:
    def test_the_prompt_comes_again_until_ctrl_d(self, bench: Bench) -> None:
        with bench.screen("--conversation-id", "anna") as screen:
            screen.shows("bot, conversation anna\n")
            screen.says("hello")
            assert screen.shows("> ").startswith("hello\nhow are you?\n       1 action ")
            screen.types("\x04")
            assert screen.ends() == 0

    def test_events_stand_beside_where_there_is_room(self, bench: Bench) -> None:
        with bench.screen(columns=120) as screen:
            screen.says("hello")
            first, second = screen.shows("> ").splitlines()[:2]
            assert [first[:5], second[:12]] == ["hello", "how are you?"]
            assert "   1 action             action_session_start 1.00" in first
            assert "   2 session_started" in second

    def test_ctrl_c_drops_the_line(self, bench: Bench) -> None:
        with bench.screen() as screen:
            screen.shows("> ")
            screen.types("hel")
            screen.shows("hel")
            screen.interrupt("(:help says what can be typed")
            screen.says("goodbye")
            assert screen.shows("> ").startswith("see you\n")

    def test_ctrl_c_does_not_wait_for_an_answer(self, bench: Bench, actions: Actions) -> None:
        with bench.screen() as screen, is_long(screen, actions):
            screen.interrupt("(The answer is shown when it comes.)\n")
            actions.may_end.set()
            screen.shows("done at last\n")
            screen.types("/stop\r")
            assert screen.ends() == 0

    def test_the_end_waits_for_an_answer_unless_it_is_told_not_to(self, bench: Bench, actions: Actions) -> None:
        with bench.screen() as screen, is_long(screen, actions):
            screen.interrupt("(The answer is shown when it comes.)\n")
            screen.types("/stop\r")
            screen.shows("(Waiting for the answer that is under way; Ctrl-C does not.)\n")
            screen.types("\x03")
            assert screen.ends() == 1

    def test_an_answer_is_not_waited_for_longer_than_the_flag_says(self, bench: Bench, actions: Actions) -> None:
        with bench.screen("--request-timeout", "1") as screen, is_long(screen, actions):
            screen.shows("turnlog: there is no answer within the time of --request-timeout\n")
            actions.may_end.set()
            screen.shows("done at last\n")

    def test_earlier_lines_can_be_had_again(self, bench: Bench) -> None:
        with bench.screen() as screen:
            screen.says("goodbye")
            screen.shows("see you\n")
            screen.says("\x1b[A")
            screen.shows("see you\n")

    def test_a_button_is_chosen_by_its_number(self, bench: Bench) -> None:
        with bench.screen() as screen:
            screen.says("/menu")
            screen.shows("1: Enough")
            screen.says("1")
            screen.shows("see you\n")

    def test_a_reminder_comes_above_what_is_being_typed(self, bench: Bench) -> None:
        with bench.screen("--no-events") as screen:
            screen.says("/plan")
            screen.shows("> ")
            screen.types("good")
            screen.shows("\r\x1b[J> EXTERNAL: EXTERNAL_short\ndo not forget\n> good")
            screen.types("bye\r")
            screen.shows("see you\n")

    def test_log_lines_come_above_what_is_being_typed(self, bench: Bench) -> None:
        (bench.folder / "away.yml").write_text(f"action_endpoint: {{url: 'http://127.0.0.1:{free_port()}'}}\n")
        with bench.screen("--endpoints", "away.yml") as screen:
            screen.says("/plan")
            screen.shows("an action failed")
            screen.says("hello")
            screen.shows("how are you?\n")

    def test_sigterm_ends_it(self, bench: Bench) -> None:
        with bench.screen() as screen:
            screen.shows("> ")
            assert screen.end(signal.SIGTERM) == 143


class TestWithoutADatabase:
    def test_the_prompt_comes_back_and_what_is_lost_is_said(self, folder: Path, tmp_path: Path) -> None:
        data = tmp_path / "data"
        flags = ["-m", "bot", "--data-dir", str(data), "--no-events"]
        with Screen(folder, flags, TURNLOG_STORAGE_TIMEOUT="1") as screen:
            screen.says("goodbye")
            screen.shows("see you\n")
            stopped = Postgres(data).processes
            for pid in stopped:
                send_signal(pid, signal.SIGSTOP)
            screen.says("hello")
            screen.shows("turnlog: the database is not available: ")
            screen.shows("turnlog: your message may be lost")
            screen.shows("> ")
            for pid in stopped:
                send_signal(pid, signal.SIGCONT)
            screen.shows("turnlog: this message was not written, say it again: hello\n")
            screen.types("hello\r")
            screen.shows("how are you?\n")


class TestBesideAService:
    def test_the_service_shows_the_conversation(self, folder: Path, service: Service, client: Client) -> None:
        conversation = new_id()
        flags: list[str | Path] = ["-m", "bot", "--data-dir", service.data_dir, "--conversation-id", conversation]
        assert piped(folder, '/order{"dish": "pie"}\n', *flags).returncode == 0
        events = client.tracker(conversation).json()["events"]
        assert [event["text"] for event in events if event["event"] == "bot"] == ["pie it is"]

    def test_what_others_write_is_shown(self, folder: Path, service: Service, client: Client) -> None:
        conversation = new_id()
        flags = ["-m", "bot", "--data-dir", str(service.data_dir), "--conversation-id", conversation]
        with Screen(folder, flags) as screen:
            screen.shows("> ")
            client.post(conversation, [{"event": "user", "text": "from outside"}, {"event": "bot", "text": "indeed"}])
            screen.shows("> from outside\nindeed\n")


class TestThePage:
    """Its commands are typed as they stand, in a folder that has the example."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> Path:
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        return tmp_path

    def test_its_session_goes_as_it_is_printed(self, home: Path) -> None:
        session, *_ = blocks(PAGE)
        assert session.output is not None
        args = session.text.split()[2:]
        lines = session.output.splitlines()
        with Screen(home, [*args, "--conversation-id", "shell-3f0c9d6a5b21"], columns=106) as screen:
            for line in lines:
                screen.says(line[2:]) if line.startswith("> ") else screen.shows(line)

    def test_what_it_pipes_is_answered_as_it_is_printed(self, home: Path) -> None:
        environment = {"PATH": f"{PROGRAM.parent}:{os.environ['PATH']}", "HOME": str(home)}
        terminal = Terminal(home, environment, {})
        for block in blocks(PAGE)[1:]:
            terminal.see(block)
