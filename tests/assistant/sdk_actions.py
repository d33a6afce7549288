"""A project's own actions, written as Rasa's users write them; rasa-sdk runs them, in an environment of its own."""

# mypy: ignore-errors

from datetime import UTC, datetime

from rasa_sdk import Action, FormValidationAction, events
from rasa_sdk.interfaces import ActionExecutionRejection


class Says(Action):
    def name(self):
        return "action_says"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"You said {tracker.latest_message['text']!r} in {tracker.get_slot('city')}.")
        dispatcher.utter_message(response="utter_weather", city="Oslo", buttons=[{"title": "more", "payload": "/more"}])
        dispatcher.utter_message(text="a", image="http://x/a.png", attachment="file")
        dispatcher.utter_message(json_message={"a": ["{city}"]}, elements=[{"title": "t"}], tone="kind")
        return []


class Sees(Action):
    """Answers with what it was given."""

    def name(self):
        return "action_sees"

    def run(self, dispatcher, tracker, domain):
        seen = {
            "sender": tracker.sender_id,
            "slots": tracker.slots,
            "intent": tracker.latest_message["intent"]["name"],
            "loop": tracker.active_loop.get("name"),
            "latest action": tracker.latest_action_name,
            "events": [event["event"] for event in tracker.events],
            "responses": sorted(domain.get("responses", {})),
        }
        return [events.SlotSet("seen", seen)]


class EveryEvent(Action):
    def name(self):
        return "action_every_event"

    def run(self, dispatcher, tracker, domain):
        at = datetime(2030, 1, 1, tzinfo=UTC)
        return [
            events.SlotSet("city", "Rome"),
            events.AllSlotsReset(),
            events.ReminderScheduled("remind", at, name="n", kill_on_user_message=False),
            events.ReminderCancelled(name="n"),
            events.ActionReverted(),
            events.UserUtteranceReverted(),
            events.Restarted(),
            events.SessionStarted(),
            events.ConversationPaused(),
            events.ConversationResumed(),
            events.FollowupAction("action_says"),
            events.ActiveLoop("order_form"),
            events.LoopInterrupted(is_interrupted=True),
            events.ActionExecuted("action_listen", policy="P", confidence=0.5),
            events.ActionExecutionRejected("action_says", policy="P", confidence=0.5),
            events.UserUttered("hi", parse_data={"intent": {"name": "greet", "confidence": 1.0}, "entities": []}),
            events.BotUttered("said", metadata={"m": 1}),
            events.StoryExported(),
        ]


class ValidatesOrder(FormValidationAction):
    def name(self):
        return "validate_order_form"

    async def required_slots(self, domain_slots, dispatcher, tracker, domain):
        return [*domain_slots, "seen"]

    def validate_city(self, value, dispatcher, tracker, domain):
        if value == "Nowhere":
            dispatcher.utter_message(text="There is no such place.")
            return {"city": None}
        return {"city": value.title()}


class Rejects(Action):
    def name(self):
        return "action_rejects"

    def run(self, dispatcher, tracker, domain):
        raise ActionExecutionRejection(self.name(), "not now")


class Fails(Action):
    def name(self):
        return "action_fails"

    def run(self, dispatcher, tracker, domain):
        raise RuntimeError("out of order")
