"""Forms, where the recorded bots do not show what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant.actions import action_of
from assistant.outside import ActionFailed, ActionRejected
from tests.assistant.bots import Scripted, normal
from tests.assistant.scenes import LISTEN, action, bot, domain_from, found, loop, rejected, said, scene_of, slot

if TYPE_CHECKING:
    from dialogue import Domain
    from tests.assistant.scenes import Json

PLAIN = """
intents: [start, inform]
entities: [a, b]
slots:
  a: {type: text, mappings: [{type: from_entity, entity: a}]}
  b: {type: text, mappings: [{type: from_entity, entity: b}]}
  c: {type: text, mappings: [{type: custom}]}
forms:
  f: {required_slots: [a, b]}
  g: {required_slots: [b]}
  empty: {required_slots: []}
responses:
  utter_ask_a: [{text: "a?"}]
  utter_ask_b: [{text: "b?"}]
"""
DOMAIN = domain_from(PLAIN)
VALIDATED = domain_from(f"{PLAIN}actions: [validate_f, validate_g]\n")
ASKED = loop("f"), slot("requested_slot", "a"), LISTEN


async def run(form: str, domain: Domain, *events: Json, script: Json | None = None) -> list[Json]:
    outside = Scripted(script or {})
    return [normal(event) for event in await action_of(form, domain).run(scene_of(domain, *events), outside)]


def validates(form: str, *events: Json) -> Json:
    return {f"validate_{form}": [{"reply": {"events": list(events)}}]}


class TestBegin:
    async def test_it_asks_for_the_first_slot(self) -> None:
        assert await run("f", DOMAIN, LISTEN, said("start")) == [
            loop("f"),
            slot("requested_slot", "a"),
            bot("a?", utter_action="utter_ask_a"),
        ]

    async def test_what_the_message_filled_is_not_asked_for(self) -> None:
        message = said("start", found("a", 1))
        assert await run("f", DOMAIN, LISTEN, message, slot("a", 1)) == [
            loop("f"),
            slot("a", 1),
            slot("requested_slot", "b"),
            bot("b?", utter_action="utter_ask_b"),
        ]

    async def test_a_form_without_slots_ends_at_once(self) -> None:
        assert await run("empty", DOMAIN, LISTEN, said("start")) == [
            loop("empty"),
            slot("requested_slot", None),
            loop(None),
        ]

    async def test_validation_may_end_the_form_before_it_asks(self) -> None:
        script = validates("f", slot("requested_slot", None))
        happened = await run("f", VALIDATED, LISTEN, said("start"), script=script)
        assert happened == [loop("f"), slot("requested_slot", None), loop(None)]

    async def test_another_forms_question_is_not_shown_to_its_validation(self) -> None:
        outside = Scripted(validates("g", slot("b", 2)))
        scene = scene_of(VALIDATED, *ASKED, said("start"), rejected("f"))
        events = await action_of("g", VALIDATED).run(scene, outside)
        assert [normal(event) for event in events] == [
            loop("g"),
            slot("b", 2),
            slot("requested_slot", None),
            loop(None),
        ]
        assert "requested_slot" not in outside.calls[0]["slots"]


class TestMessage:
    async def test_the_last_slot_ends_the_form(self) -> None:
        filled = slot("b", 2), slot("requested_slot", "b"), LISTEN, said("inform"), slot("a", 1)
        assert await run("f", DOMAIN, loop("f"), *filled) == [slot("requested_slot", None), loop(None)]

    async def test_a_message_that_fills_nothing_is_rejected(self) -> None:
        with pytest.raises(ActionRejected):
            await run("f", DOMAIN, *ASKED, said("inform"))

    async def test_a_slot_that_is_not_required_does_not_help(self) -> None:
        with pytest.raises(ActionRejected):
            await run("f", DOMAIN, *ASKED, said("inform"), slot("c", 1))

    async def test_another_required_slot_does(self) -> None:
        assert await run("f", DOMAIN, *ASKED, said("inform"), slot("b", 1)) == [
            slot("requested_slot", "a"),
            bot("a?", utter_action="utter_ask_a"),
        ]

    async def test_so_does_a_slot_that_validation_sets(self) -> None:
        assert await run("f", VALIDATED, *ASKED, said("inform"), script=validates("f", slot("a", 1))) == [
            slot("a", 1),
            slot("requested_slot", "b"),
            bot("b?", utter_action="utter_ask_b"),
        ]

    async def test_slots_of_earlier_messages_do_not_count(self) -> None:
        with pytest.raises(ActionRejected):
            await run("f", DOMAIN, *ASKED, slot("a", None), said("inform"), LISTEN, said("inform"))

    async def test_validation_may_reject_the_message_itself(self) -> None:
        happened = await run("f", VALIDATED, *ASKED, said("inform"), script=validates("f", rejected("f")))
        assert happened == [rejected("f")]

    async def test_a_slot_is_validated_as_it_was_set_last(self) -> None:
        outside = Scripted(validates("f"))
        scene = scene_of(VALIDATED, *ASKED, said("inform"), slot("a", 1), slot("a", 2))
        await action_of("f", VALIDATED).run(scene, outside)
        assert outside.calls[0]["events_since_user"][-2:] == [action("f"), slot("a", 2)]

    async def test_an_interrupted_form_asks_again(self) -> None:
        interrupted = {"event": "loop_interrupted", "is_interrupted": True}
        assert await run("f", DOMAIN, *ASKED, said("inform"), interrupted) == [
            slot("requested_slot", "a"),
            bot("a?", utter_action="utter_ask_a"),
        ]

    async def test_a_form_asks_again_after_another_action(self) -> None:
        assert await run("f", DOMAIN, *ASKED, said("inform"), rejected("f"), action("utter_x")) == [
            slot("requested_slot", "a"),
            bot("a?", utter_action="utter_ask_a"),
        ]

    async def test_a_requested_slot_that_is_no_name_counts_as_none(self) -> None:
        odd = loop("f"), slot("requested_slot", ["a"]), LISTEN, said("inform")
        assert (await run("f", DOMAIN, *odd))[0] == slot("requested_slot", "a")


class TestEnd:
    @pytest.mark.parametrize(
        "last_word",
        [
            [slot("requested_slot", None), slot("requested_slot", "b")],
            [loop(None), loop("f")],
            [slot("requested_slot", None), rejected("f")],
        ],
    )
    async def test_validation_may_take_back_that_the_form_ends(self, last_word: list[Json]) -> None:
        happened = await run("f", VALIDATED, LISTEN, said("start"), script=validates("f", *last_word))
        assert happened[: 1 + len(last_word)] == [loop("f"), *last_word]
        assert happened[-1]["event"] == "bot"

    @pytest.mark.parametrize(
        "last_word", [[slot("requested_slot", "b"), slot("requested_slot", None)], [loop("f"), loop(None)]]
    )
    async def test_validation_has_the_last_word_on_the_end(self, last_word: list[Json]) -> None:
        happened = await run("f", VALIDATED, LISTEN, said("start"), script=validates("f", *last_word))
        assert happened == [loop("f"), *last_word, loop(None)]


class TestQuestion:
    NAMES = ("action_ask_f_a", "utter_ask_f_a", "action_ask_a", "utter_ask_a")

    @pytest.mark.parametrize("first", range(4))
    async def test_the_most_specific_action_asks(self, first: int) -> None:
        names = self.NAMES[first:]
        actions = [name for name in names if name.startswith("action")]
        responses = "".join(f"\n  {name}: [{{text: {name}}}]" for name in names if name.startswith("utter"))
        text = PLAIN[: PLAIN.index("responses")]
        domain = domain_from(f"{text}actions: {actions}\nresponses:{responses}\n")
        script = {name: [{"reply": {"responses": [{"text": name}]}}] for name in actions}
        happened = await run("f", domain, LISTEN, said("start"), script=script)
        assert [event["text"] for event in happened if event["event"] == "bot"] == [self.NAMES[first]]

    async def test_without_any_the_slot_is_asked_for_in_silence(self) -> None:
        domain = domain_from(PLAIN[: PLAIN.index("responses")])
        assert await run("f", domain, LISTEN, said("start")) == [loop("f"), slot("requested_slot", "a")]

    async def test_validation_chooses_the_slot_even_one_that_is_not_required(self) -> None:
        script = validates("f", slot("requested_slot", "c"))
        happened = await run("f", VALIDATED, *ASKED, said("inform"), slot("a", 1), script=script)
        assert happened == [slot("requested_slot", "c")]


class TestFaults:
    async def test_validation_that_fails_fails_the_run(self) -> None:
        with pytest.raises(ActionFailed):
            await run("f", VALIDATED, *ASKED, said("inform"), slot("a", 1))

    async def test_validation_that_rejects_rejects_the_run(self) -> None:
        with pytest.raises(ActionRejected):
            await run("f", VALIDATED, *ASKED, said("inform"), slot("a", 1), script={"validate_f": [{"status": 400}]})
