"""Who carries an action out."""

from __future__ import annotations

import json

import pytest

from assistant.actions import ServerAction, UnknownAction, action_of
from assistant.outside import ActionFailed
from dialogue.domain import DEFAULT_ACTIONS
from tests.assistant.bots import BOTS, Scripted, domain_of, normal
from tests.assistant.scenes import LISTEN, Json, bot, domain_from, said, scene_of, slot

DOMAIN = domain_from(
    """
    intents: [faq]
    slots:
      a: {type: text, mappings: [{type: custom}]}
    actions: [action_own, action_back, own_form, utter_later]
    forms:
      form: {required_slots: [a]}
      own_form: {required_slots: [a]}
    responses:
      utter_hello: [{text: hello}]
      utter_other_channel: [{text: hello, channel: web}]
      utter_faq/hours: [{text: always}]
      plain: [{text: no utter}]
    """
).with_texts(["How do you do?"])
FROM_SERVER = [{"reply": {"events": [slot("a", "from the server")]}}]


async def run(name: str, message: Json | None = None) -> list[Json]:
    script = dict.fromkeys(("action_own", "action_back", "own_form", "plain"), FROM_SERVER)
    scene = scene_of(DOMAIN, LISTEN, message or said("faq"))
    return [normal(event) for event in await action_of(name, DOMAIN).run(scene, Scripted(script))]


@pytest.mark.parametrize("name", DEFAULT_ACTIONS)
def test_what_every_bot_has_runs_here(name: str) -> None:
    found = action_of(name, domain_from("intents: [faq]"))
    assert found.name == name
    assert not isinstance(found, ServerAction)


@pytest.mark.parametrize("name", ["action_own", "action_back", "own_form", "plain"])
async def test_a_projects_own_actions_run_on_the_server_also_in_place_of_what_is_built_in(name: str) -> None:
    assert await run(name) == [slot("a", "from the server")]


async def test_a_response_is_said() -> None:
    assert await run("utter_hello") == [bot("hello", utter_action="utter_hello")]


@pytest.mark.parametrize("name", ["utter_later", "utter_other_channel"])
async def test_a_response_that_is_not_there_is_not_said(name: str) -> None:
    assert await run(name) == []


async def test_a_text_is_said_word_for_word() -> None:
    assert await run("How do you do?") == [bot("How do you do?")]


async def test_a_form_runs_here() -> None:
    assert await run("form") == [{"event": "active_loop", "name": "form"}, slot("requested_slot", "a")]


class TestUnknown:
    def test_its_sentence_is_known_to_clients(self) -> None:
        recorded = json.loads((BOTS / "err_unknown_action/train.json").read_text())["train"]["error"]
        with pytest.raises(UnknownAction) as caught:
            action_of("utter_missing", domain_of("err_unknown_action"))
        assert str(caught.value) == recorded


class TestRetrieval:
    DOMAIN = domain_from("actions: [utter_faq]\nresponses:\n  utter_faq/hours: [{text: always}]\n")

    async def run(self, selector: Json | None) -> list[Json]:
        parsed: Json = {} if selector is None else {"response_selector": selector}
        message = said("faq", **parsed)
        action = action_of("utter_faq", self.DOMAIN)
        return [normal(event) for event in await action.run(scene_of(self.DOMAIN, LISTEN, message), Scripted({}))]

    @pytest.mark.parametrize("selector", ["faq", "default"])
    async def test_the_selected_response_is_said(self, selector: str) -> None:
        selected = {selector: {"response": {"utter_action": "utter_faq/hours"}}}
        assert await self.run(selected) == [bot("always", utter_action="utter_faq/hours")]

    @pytest.mark.parametrize("selector", [None, {}, {"chitchat": {}}, {"faq": {"response": {}}}])
    async def test_without_a_selection_it_fails(self, selector: Json | None) -> None:
        with pytest.raises(ActionFailed, match="utter_faq"):
            await self.run(selector)
