"""The actions of the restaurant assistant. rasa-sdk runs them, in a process of its own."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from rasa_sdk import Action, FormValidationAction, Tracker
from rasa_sdk.events import ReminderCancelled, ReminderScheduled, SlotSet

from actions import book

if TYPE_CHECKING:
    from rasa_sdk.executor import CollectingDispatcher
    from rasa_sdk.types import DomainDict

Events = list[dict[str, Any]]

MOST_PEOPLE = 12
OPENS, LAST_SEATING = time(12, 0), time(21, 30)
REMINDED_BEFORE = timedelta(hours=2)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
REQUEST = ("people", "date", "time", "seating", "wants_reminder", "diets")  # slots of one reservation; the name stays


class ValidateReservationForm(FormValidationAction):
    """Looks at each slot that a message has filled. What it returns may come here again, and must then stay so."""

    def name(self) -> str:
        return "validate_reservation_form"

    def validate_people(self, value: Any, dispatcher: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> dict:
        people = int(value) if re.fullmatch(r"\d{1,4}", str(value)) else 0
        if people > MOST_PEOPLE:
            dispatcher.utter_message(response="utter_too_many", most=MOST_PEOPLE)
        elif people < 1:
            dispatcher.utter_message(response="utter_no_number")
        return {"people": people if 0 < people <= MOST_PEOPLE else None}

    def validate_date(self, value: Any, dispatcher: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> dict:
        day = day_of(str(value), date.today())
        if day is None:
            dispatcher.utter_message(response="utter_no_date")
        return {"date": day and day.isoformat()}

    def validate_time(self, value: Any, dispatcher: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> dict:
        hour = hour_of(str(value))
        if hour is None or not OPENS <= hour <= LAST_SEATING:
            dispatcher.utter_message(response="utter_no_time", first=f"{OPENS:%H:%M}", last=f"{LAST_SEATING:%H:%M}")
            return {"time": None}
        return {"time": f"{hour:%H:%M}"}

    def validate_seating(self, value: Any, _c: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> dict:
        return {"seating": value if value in book.SEATS else None}

    def validate_name(self, value: Any, dispatcher: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> dict:
        name = " ".join(str(value).split())
        if not name or len(name) > 60 or name.startswith("/"):
            dispatcher.utter_message(response="utter_no_name")
            return {"name": None}
        return {"name": name}


class CheckAvailability(Action):
    """Says in a slot whether there is a table; rules do the rest. If there is none, another time is to be asked for."""

    def name(self) -> str:
        return "action_check_availability"

    def run(self, _c: CollectingDispatcher, tracker: Tracker, _d: DomainDict) -> Events:
        free = book.is_free(request_of(tracker))
        return [SlotSet("table_is_free", free), *([] if free else [SlotSet("time", None)])]


class Reserve(Action):
    """Takes the table, and lets the guest be reminded."""

    def name(self) -> str:
        return "action_reserve"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, _d: DomainDict) -> Events:
        request = request_of(tracker)
        number = book.take(request)
        if number is None:
            dispatcher.utter_message(response="utter_taken")
            return forgotten()
        diets = ", ".join(request["diets"] or ())
        response = "utter_reserved_with_diets" if diets else "utter_reserved"
        dispatcher.utter_message(response=response, number=number, diets=diets)
        reminders = reminders_of(number, request) if tracker.get_slot("wants_reminder") else []
        return [SlotSet("reservation_number", number), SlotSet("reservation", request), *reminders, *forgotten()]


class ForgetRequest(Action):
    """Empties what the form has filled, so that it asks anew the next time."""

    def name(self) -> str:
        return "action_forget_request"

    def run(self, _c: CollectingDispatcher, _t: Tracker, _d: DomainDict) -> Events:
        return forgotten()


class ShowReservation(Action):
    """Says what is reserved."""

    def name(self) -> str:
        return "action_show_reservation"

    def run(self, dispatcher: CollectingDispatcher, tracker: Tracker, _d: DomainDict) -> Events:
        number = tracker.get_slot("reservation_number")
        dispatcher.utter_message(response="utter_reservation", number=number, **tracker.get_slot("reservation"))
        return []


class CancelReservation(Action):
    """Gives the table back."""

    def name(self) -> str:
        return "action_cancel_reservation"

    def run(self, _c: CollectingDispatcher, tracker: Tracker, _d: DomainDict) -> Events:
        number = tracker.get_slot("reservation_number")
        book.give_back(number)
        empty = [SlotSet("reservation_number", None), SlotSet("reservation", None)]
        return [ReminderCancelled(name=reminder_name(number)), *empty]


def request_of(tracker: Tracker) -> dict[str, Any]:
    """What the guest wants."""
    return {name: tracker.get_slot(name) for name in ("people", "date", "time", "seating", "name", "diets")}


def forgotten() -> Events:
    return [SlotSet(name, None) for name in ("table_is_free", *REQUEST)]


def reminders_of(number: str, request: dict[str, Any]) -> Events:
    """What lets the intent `remind` come in two hours before the guests do, unless they come sooner."""
    comes = datetime.fromisoformat(f"{request['date']}T{request['time']}").astimezone()
    reminded = comes - REMINDED_BEFORE
    if reminded <= datetime.now().astimezone():
        return []
    return [ReminderScheduled("remind", reminded, name=reminder_name(number), kill_on_user_message=False)]


def reminder_name(number: str) -> str:
    return f"reservation {number}"


def day_of(text: str, today: date) -> date | None:
    """The day that is meant, None for one that is over or is none."""
    word = text.strip().lower()
    if word in ("today", "tomorrow"):
        return today + timedelta(days=word == "tomorrow")
    if word in WEEKDAYS:
        return today + timedelta(days=(WEEKDAYS.index(word) - today.weekday()) % 7)
    try:
        day = date.fromisoformat(word)
    except ValueError:
        return None
    return day if day >= today else None


def hour_of(text: str) -> time | None:
    """The time that is meant: `19:30`, `7 pm`, `7 o'clock`. Without am or pm it is in the evening, if it can be."""
    found = re.fullmatch(r"(\d{1,2})(?::(\d\d))?\s*(am|pm|o'clock)?", text.strip().lower())
    if found is None:
        return None
    hour, minute, half = int(found[1]), int(found[2] or 0), found[3]
    if half == "pm" or (half == "o'clock" and hour < OPENS.hour):
        hour = hour % 12 + 12
    elif half == "am":
        hour %= 12
    return time(hour, minute) if hour < 24 and minute < 60 else None
