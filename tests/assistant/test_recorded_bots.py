"""The recorded bots, run by the service: every answer, event, state and call of the action server is as recorded.

Bots that real Rasa refused to train are refused here, mostly in the same words.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

import pytest

from assistant.archive import load_model
from dialogue.training.files import InvalidTraining
from tests.assistant.bots import BOTS, PLAYABLE, dialogues_of
from tests.assistant.playing import Stage, staging
from tests.service import Service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.postgres import Server

_RASA_REFUSED: Final = {
    path.parent.name: training["error"]
    for path in BOTS.glob("*/train.json")
    if not (training := json.loads(path.read_text())["train"])["ok"]
}
#: Oddities of Rasa that are mended, and how.
MENDED: Final = {
    "err_keyword_twice": "a keyword that occurs in keywords of two other intents is left out; Rasa's training crashed",
    "err_bad_mapping": "a domain with a fault is refused; Rasa trained on with an empty domain",
}
REFUSED: Final = {
    "err_bad_mapping": [
        "domain.yml:4: the slot 's', mapping 1: a mapping of type from_entity needs the key 'entity'",
    ],
    "err_contradiction_rules": [
        "data/data.yml:14: the prediction of the action 'utter_greet' in rule 'greet' is contradicting with rule(s) "
        "'greet two'.",
        "data/data.yml:18: the prediction of the action 'utter_x' in rule 'greet two' is contradicting with rule(s) "
        "'greet'.",
    ],
    "err_forms_no_rule_policy": [
        "config.yml:1: You have defined a form action, but have not added the 'RulePolicy' to your policy ensemble. "
        "Either remove all forms from your domain or add the 'RulePolicy' to your policy configuration.",
    ],
    "err_incomplete_loop": [
        "data/data.yml:19: the form 'f' in rule 'two' does not set the 'active_loop', that it sets in other rules: "
        "'f'. Please update the rule with the appropriate 'active loop' property or if it is the last action add "
        "'wait_for_user_input: false' after this action.",
    ],
    "err_incomplete_slot": [
        "data/data.yml:21: the action 'action_set' in rule 'two' does not set some of the slots that it sets in other "
        "rules. Slots not set in rule 'two': 'done'. Please update the rule with an appropriate slot or if it is the "
        "last action add 'wait_for_user_input: false' after this action.",
    ],
    "err_string_step": [
        "data/data.yml:14: a step of a rule is a mapping such as '- intent: ...', not '...'",
    ],
    "err_two_user_turns": [
        "data/data.yml:15: Found rules 'long' that contain more than 1 user message. Rules are not meant to hardcode a "
        "state machine. Please use stories for these cases.",
    ],
    "err_unknown_action": [
        "data/data.yml:14: Cannot access action 'utter_missing', as that name is not a registered action for this "
        "domain. List it under actions, or write a response of this name.",
    ],
}
IN_RASAS_WORDS: Final = sorted(REFUSED.keys() - MENDED.keys() - {"err_string_step"})


@pytest.fixture(scope="module")
async def stage(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """All bots play on it."""
    async with staging(server, tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.mark.parametrize("bot", PLAYABLE)
async def test_bot_plays_as_recorded(bot: str, stage: Stage) -> None:
    player = await stage.enter(bot)
    for number, dialogue in enumerate(dialogues_of(bot)):
        played = await player.play(f"mb-{bot}-{number}", [step["send"] for step in dialogue])
        for step, recorded in zip(played, dialogue, strict=True):
            assert step == recorded


def test_whatever_rasa_refused_is_refused_or_mended() -> None:
    assert sorted(_RASA_REFUSED) == sorted((REFUSED.keys() | MENDED.keys()) - {"err_bad_mapping"})


@pytest.mark.parametrize("bot", REFUSED)
def test_bot_with_faults_is_refused(bot: str) -> None:
    with pytest.raises(InvalidTraining) as caught:
        load_model(BOTS / bot)
    assert str(caught.value).splitlines() == REFUSED[bot]


@pytest.mark.parametrize("bot", IN_RASAS_WORDS)
def test_faults_are_said_in_rasas_words(bot: str) -> None:
    for fault in REFUSED[bot]:
        sentence = fault.split(": ", 1)[1].split(". ")[0]
        assert sentence in _RASA_REFUSED[bot]


def test_keyword_in_several_keywords_of_other_intents_is_left_out() -> None:
    warnings = [warning.reason for warning in load_model(BOTS / "err_keyword_twice").warnings]
    assert "the keyword 'only' is left out: it occurs in 'only a' of another intent" in warnings


async def test_service_says_why_it_does_not_run_a_bot(server: Server, tmp_path: Path) -> None:
    async with server.database() as database:
        flags: list[str | Path] = ["--enable-api", "-m", BOTS / "err_contradiction_rules"]
        with Service(tmp_path, flags, environment={"DATABASE_URL": database.dsn}) as service:
            await asyncio.to_thread(service.wait_until_ready)
            answer = service.request("POST", "/model/parse", {"text": "/greet"})
    assert answer.status == 409
    assert [line["fault"] for line in service.logged("the model can't be used")] == REFUSED["err_contradiction_rules"]
