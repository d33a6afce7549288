"""Projects of every kind: what runs of those that are not whole, and what is said of those that can't be used."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from assistant.archive import load_model
from assistant.project import InvalidModel
from dialogue.training.files import InvalidTraining
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.postgres import Server
    from tests.service import Answer

Files = dict[str, str]

DOMAIN = """
intents: [greet, bye]
slots: {name: {type: text, mappings: [{type: custom}]}}
responses: {utter_greet: [{text: Hello}]}
"""
NLU = """
nlu:
- intent: greet
  examples: |
    - hi
    - hello
- intent: bye
  examples: |
    - bye
    - see you
"""
RULES = "rules: [{rule: greeting, steps: [{intent: greet}, {action: utter_greet}]}]\n"
PIPELINE = "pipeline: [{name: KeywordIntentClassifier}]\n"
POLICIES = "policies: [{name: RulePolicy}]\n"
WHOLE: Files = {"domain.yml": DOMAIN, "data/nlu.yml": NLU, "data/rules.yml": RULES, "config.yml": PIPELINE + POLICIES}
SESSION = ["action", "session_started", "action"]


def write(folder: Path, files: Files) -> Path:
    """A folder `bot` with these files."""
    for name, text in files.items():
        path = folder / "bot" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder / "bot"


def without(*names: str, **changed: str) -> Files:
    """The whole project without some files; `config` and `domain` replace those."""
    files = {name: text for name, text in WHOLE.items() if name not in names}
    return files | {f"{name}.yml": text for name, text in changed.items()}


def warnings(folder: Path, files: Files) -> list[str]:
    return [str(warning) for warning in load_model(write(folder, files)).warnings]


def faults(folder: Path, files: Files) -> list[str]:
    with pytest.raises(InvalidTraining) as caught:
        load_model(write(folder, files))
    assert str(caught.value) == "\n".join(map(str, caught.value.faults))
    return [str(fault) for fault in caught.value.faults]


class Talk:
    """A service that runs a project."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def _send(self, method: str, path: str, body: object = None) -> Answer:
        return await asyncio.to_thread(self._service.request, method, path, body)

    async def say(self, text: str) -> list[str]:
        """What is answered to a message."""
        answer = await self._send("POST", "/webhooks/rest/webhook", {"sender": "c", "message": text})
        return [message["text"] for message in answer.json()]

    async def status(self, path: str, body: object = None) -> int:
        """The status of a POST."""
        return (await self._send("POST", path, body)).status

    async def intent(self, text: str) -> str | None:
        """What a text means."""
        parsed = (await self._send("POST", "/model/parse", {"text": text})).json()
        name: str | None = parsed["intent"]["name"]
        return name

    async def events(self) -> list[str]:
        """The events of the conversation."""
        tracker: Any = (await self._send("GET", "/conversations/c/tracker?include_events=ALL")).json()
        return [event["event"] for event in tracker["events"]]


@asynccontextmanager
async def running(folder: Path, server: Server, files: Files) -> AsyncIterator[Talk]:
    """The service with a project, on a database of its own."""
    flags: list[str | Path] = ["--enable-api", "-i", "127.0.0.1", "-m", write(folder, files)]
    async with server.database() as database:
        with Service(folder, flags, environment={"DATABASE_URL": database.dsn}) as service:
            await asyncio.to_thread(service.wait_until_ready)
            yield Talk(service)


class TestWhatRuns:
    async def test_a_whole_project(self, server: Server, tmp_path: Path) -> None:
        async with running(tmp_path, server, WHOLE) as bot:
            assert await bot.say("hi") == ["Hello"]
            assert await bot.status("/conversations/c/predict") == 200

    @pytest.mark.parametrize(
        "files",
        [
            without("data/rules.yml", config=PIPELINE),
            without("data/rules.yml"),
            without("domain.yml", "data/rules.yml", config=PIPELINE),
        ],
        ids=["policies are missing too", "only rules are missing", "the domain is missing too"],
    )
    async def test_nlu_alone_understands_and_keeps_conversations(
        self, server: Server, tmp_path: Path, files: Files
    ) -> None:
        async with running(tmp_path, server, files) as bot:
            assert await bot.intent("hello") == "greet"
            assert await bot.say("hello") == []
            assert await bot.status("/conversations/c/messages", {"text": "bye", "sender": "user"}) == 200
            assert await bot.status("/conversations/c/tracker/events", [{"event": "restart"}]) == 200
            assert await bot.events() == [*SESSION, "user", "user", "restart"]
            assert await bot.status("/conversations/c/predict") == 409
            assert await bot.status("/model/predict", []) == 409

    @pytest.mark.parametrize(
        "files",
        [without("data/nlu.yml"), without("data/nlu.yml", config=POLICIES)],
        ids=["examples are missing", "the pipeline is missing too"],
    )
    async def test_without_nlu_explicit_intents_are_understood(
        self, server: Server, tmp_path: Path, files: Files
    ) -> None:
        async with running(tmp_path, server, files) as bot:
            assert await bot.say("/greet") == ["Hello"]
            assert await bot.intent("hello") is None
            assert await bot.status("/conversations/c/predict") == 200

    async def test_a_domain_alone_is_enough_for_conversations(self, server: Server, tmp_path: Path) -> None:
        async with running(tmp_path, server, {"domain.yml": DOMAIN}) as bot:
            assert await bot.say("/greet") == []
            assert await bot.intent("/greet") == "greet"
            assert await bot.events() == [*SESSION, "user"]
            assert await bot.status("/conversations/c/predict") == 409

    async def test_an_empty_folder_is_no_model(self, server: Server, tmp_path: Path) -> None:
        (tmp_path / "bot").mkdir()
        async with running(tmp_path, server, {}) as bot:
            assert await bot.status("/model/parse", {"text": "hi"}) == 409
            assert await bot.status("/conversations/c/tracker/events", [{"event": "restart"}]) == 200


class TestLoading:
    def test_an_empty_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidModel, match=r": holds neither a project \(domain.yml, data\) nor an archive"):
            load_model(tmp_path)

    def test_the_same_files_are_the_same_model(self, tmp_path: Path) -> None:
        first = load_model(write(tmp_path / "1", WHOLE)).model
        other = load_model(write(tmp_path / "2", WHOLE)).model
        changed = load_model(write(tmp_path / "3", without(config=PIPELINE + POLICIES + "language: en\n"))).model
        assert first.id == other.id != changed.id
        assert (first.file, len(first.id)) == ("bot", 32)

    def test_a_whole_project_is_not_odd(self, tmp_path: Path) -> None:
        assert warnings(tmp_path, WHOLE) == []

    def test_files_may_be_split_and_lie_in_folders(self, tmp_path: Path) -> None:
        files = {
            "domain/a.yml": "intents: [greet]\n",
            "domain/more/b.yaml": "responses: {utter_greet: [{text: Hello}]}\n",
            "data/deep/down/all.yml": RULES + NLU,
            "config.yaml": PIPELINE + POLICIES,
        }
        model = load_model(write(tmp_path, files)).model
        assert model.domain.intents == ("greet",)
        assert model.dialogue is not None
        assert len(model.nlu.components) == 1

    def test_its_name_is_in_the_configuration(self, tmp_path: Path) -> None:
        model = load_model(write(tmp_path, without(config=PIPELINE + POLICIES + "assistant_id: joe\n"))).model
        assert model.assistant_id == "joe"
        assert model.marks == {"model_id": model.id, "assistant_id": "joe"}

    def test_with_an_nlu_server_the_pipeline_is_not_looked_at(self, tmp_path: Path) -> None:
        folder = write(tmp_path, without(config="pipeline: [{name: DIETClassifier}]\n" + POLICIES))
        trained = load_model(folder, understands_elsewhere=True)
        assert trained.model.nlu.components == ()
        assert trained.warnings == ()


class TestRetrievalIntents:
    FILES = WHOLE | {
        "domain.yml": "intents: [faq]\n",
        "data/nlu.yml": NLU.replace("greet", "faq/hours").replace("bye\n", "faq/way\n", 1)
        + "responses:\n  utter_faq/hours: [{text: From nine to five}]\n  utter_faq/way: [{text: The second left}]\n",
        "data/rules.yml": "rules: [{rule: answers, steps: [{intent: faq}, {action: utter_faq}]}]\n",
    }

    def test_responses_beside_nlu_data_are_a_part_of_the_domain(self, tmp_path: Path) -> None:
        domain = load_model(write(tmp_path, self.FILES)).model.domain
        assert domain.responses["utter_faq/hours"] == ({"text": "From nine to five"},)
        assert "nlu" not in domain.document

    def test_there_is_an_action_for_each(self, tmp_path: Path) -> None:
        names = load_model(write(tmp_path, self.FILES)).model.domain.action_names
        assert names[-3:] == ("utter_faq", "utter_faq/hours", "utter_faq/way")

    def test_they_are_not_odd(self, tmp_path: Path) -> None:
        assert warnings(tmp_path, self.FILES) == []

    def test_the_base_intent_must_be_in_the_domain(self, tmp_path: Path) -> None:
        odd = warnings(tmp_path, self.FILES | {"domain.yml": "intents: []\n"})
        assert "data/nlu.yml:5: the intent 'faq' has examples, but is none of the domain's intents" in odd

    def test_faults_of_such_responses_are_named_with_their_file(self, tmp_path: Path) -> None:
        broken = self.FILES["data/nlu.yml"].replace("[{text: The second left}]", "The second left")
        assert faults(tmp_path, self.FILES | {"data/nlu.yml": broken}) == [
            "data/nlu.yml:13: the response 'utter_faq/way' must be a list of variations, not 'The second left'"
        ]

    async def test_the_selection_of_an_nlu_server_is_said(self, server: Server, tmp_path: Path) -> None:
        selected = {"faq": {"response": {"utter_action": "utter_faq/way"}}}
        parsed = {"intent": {"name": "faq"}, "entities": [], "text": "which way", "response_selector": selected}
        async with running(tmp_path, server, self.FILES) as bot:
            message = {"text": "which way", "sender": "user", "parse_data": parsed}
            assert await bot.status("/conversations/c/messages", message) == 200
            assert await bot.status("/conversations/c/execute", {"name": "utter_faq"}) == 200
            assert (await bot.events())[-2:] == ["action", "bot"]


class TestFaults:
    def test_stories_need_policies(self, tmp_path: Path) -> None:
        assert faults(tmp_path, without(config=PIPELINE)) == [
            "config.yml:1: no policies are given; Rasa would choose some, which predict by machine learning; write "
            "those that shall predict, as in 'policies: [{name: MemoizationPolicy}, {name: RulePolicy}]'"
        ]

    def test_stories_need_a_configuration(self, tmp_path: Path) -> None:
        [fault] = faults(tmp_path, without("config.yml"))
        assert fault.startswith("config.yml:1: is missing: no policies are given; ")

    def test_markdown_is_to_be_converted(self, tmp_path: Path) -> None:
        files = WHOLE | {"data/old.md": "## happy path\n* greet\n  - utter_greet\n"}
        assert faults(tmp_path, files) == [
            "data/old.md:1: this is Markdown, the format of Rasa 1; convert it to YAML with Rasa 2: "
            "'rasa data convert core --format yaml --data data/old.md --out converted'"
        ]

    def test_a_configuration_is_a_mapping(self, tmp_path: Path) -> None:
        assert "config.yml:1: a configuration is a mapping, not a list" in faults(tmp_path, without(config="- x\n"))

    def test_those_of_all_files_are_reported_at_once(self, tmp_path: Path) -> None:
        files = {
            "domain/a.yml": "intents: [greet]\nslots: {name: {type: word, mappings: []}}\n",
            "domain/b.yml": "responses: {utter_greet: [}\n",
            "data/nlu.yml": "nlu:\n- intent: greet\n  examples: 5\n",
            "data/rules.yml": "rules:\n- rule: one\n  steps:\n  - say: hi\n",
            "data/stories.yml": "stories:\n- story: one\n  steps:\n  - intent: greet\n  - ...\n",
            "config.yml": "pipeline:\n- name: Unknown\npolicies:\n- name: TEDPolicy\n",
        }
        places = {fault.split(": ")[0] for fault in faults(tmp_path, files)}
        assert places == {
            "domain/a.yml:2",
            "domain/b.yml:1",
            "data/nlu.yml:3",
            "data/rules.yml:4",
            "data/stories.yml:5",
            "config.yml:2",
            "config.yml:4",
        }
