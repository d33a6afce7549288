"""The domain: what a bot knows of. Its slots, intents, entities, actions, forms and responses."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from msgspec.structs import replace

from dialogue.domain_document import as_yaml, shown
from dialogue.json import dumps
from dialogue.slots import Slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REQUESTED_SLOT: Final = "requested_slot"
SESSION_METADATA_SLOT: Final = "session_started_metadata"
DEFAULT_INTENTS: Final = ("restart", "back", "out_of_scope", "session_start", "nlu_fallback")
RULE_EDGE: Final = "..."  #: stands in rules for whatever came before or comes after
DEFAULT_ACTIONS: Final = (
    "action_listen",
    "action_restart",
    "action_session_start",
    "action_default_fallback",
    "action_deactivate_loop",
    "action_revert_fallback_events",
    "action_default_ask_affirmation",
    "action_default_ask_rephrase",
    "action_two_stage_fallback",
    "action_unlikely_intent",
    "action_back",
    RULE_EDGE,
    "action_extract_slots",
)


class Entity(Struct, frozen=True):
    """An entity: the roles and groups that tell its kinds apart, and whether policies see it."""

    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    influences: bool = True

    def labels(self, name: str) -> frozenset[str]:
        """What policies call the kinds of an entity of this name: `city#from`."""
        return frozenset(f"{name}#{kind}" for kind in (*self.roles, *self.groups))


class Intent(Struct, frozen=True):
    """Which entities policies see beside an intent. None: what entities say of themselves."""

    included: tuple[str, ...] | None = None
    excluded: tuple[str, ...] | None = None


class Form(Struct, frozen=True):
    """A loop that asks for slots, in this order, and fills none of them from a message with an ignored intent."""

    required_slots: tuple[str, ...] = ()
    ignored_intents: tuple[str, ...] = ()


class Domain(Struct, frozen=True, kw_only=True, dict=True):
    """A bot's domain. Everything in it is shared: treat it as frozen.

    Attributes:
        slots: all slots in the order of the state, those that every bot has at the end.
        filled_slots: those of the bot's files, in their order: what messages can fill.
        intents: those of the files, sorted; `known_intents` has those too that every bot has.
        actions: what the files list under `actions`; `action_names` has everything that can be predicted.
        responses: for each name its variations as they are written.
        texts: what the bot says word for word in stories; each is an action too.
        sends_domain: actions that are sent the domain even where others are not.
        document: the domain as `GET /domain` shows it.
        open_slots: a slot comes to be when it is first set: so is the domain without a model.
    """

    slots: dict[str, Slot]
    filled_slots: dict[str, Slot] = {}
    intents: tuple[str, ...] = ()
    intent_settings: dict[str, Intent] = {}
    entities: dict[str, Entity] = {}
    forms: dict[str, Form] = {}
    responses: dict[str, tuple[dict[str, Any], ...]] = {}
    actions: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sends_domain: frozenset[str] = frozenset()
    session_expiration_minutes: float = 60
    carry_over_slots: bool = True
    document: dict[str, Any]
    open_slots: bool = False

    @classmethod
    def empty(cls) -> Domain:
        """The domain that is used without a model."""
        return cls(slots={SESSION_METADATA_SLOT: Slot("any")}, document=shown({}), open_slots=True)

    def with_texts(self, texts: Iterable[str]) -> Domain:
        """The domain of a bot that also says these texts word for word."""
        new = [text for text in dict.fromkeys(texts) if text not in self.action_names]
        if not new:
            return self
        written = [*self.texts, *new]
        return replace(self, texts=tuple(written), document={**self.document, "e2e_actions": written})

    @cached_property
    def action_names(self) -> tuple[str, ...]:
        """Every action that can be predicted, texts included; of equally good ones the first is chosen."""
        said = sorted({*self.responses, *self._retrieving})
        return tuple(dict.fromkeys((*DEFAULT_ACTIONS, *self.actions, *said, *self.forms, *self.texts)))

    @cached_property
    def known_actions(self) -> frozenset[str]:
        """The same names: quick to be looked up, where the others have an order."""
        return frozenset(self.action_names)

    @cached_property
    def initial_features(self) -> dict[str, tuple[float, ...]]:
        """What policies see of the slots of a new conversation; those of which they see nothing are not there."""
        seen = {name: slot.features(self.initial_slots[name]) for name, slot in self.slots.items()}
        return {name: features for name, features in seen.items() if features is not None}

    @property
    def _retrieving(self) -> Iterator[str]:
        """What says one of the responses to a retrieval intent: for `utter_faq/hours` that is `utter_faq`."""
        return (name.partition("/")[0] for name in self.responses if "/" in name)

    @cached_property
    def known_intents(self) -> frozenset[str]:
        """The intents, with those that every bot knows."""
        return frozenset((*self.intents, *DEFAULT_INTENTS))

    def used_entities(self, intent: str | None) -> frozenset[str]:
        """What policies see of a message with this intent: of its entities those of these labels (`city`, `city#from`).

        Of an intent that the bot doesn't know they see every entity.
        """
        if intent not in self.known_intents:
            return self._every_label
        return self._used.get(intent, self._usual_labels)

    @cached_property
    def _every_label(self) -> frozenset[str]:
        return self._with_labels(self.entities)

    @cached_property
    def _usual_labels(self) -> frozenset[str]:
        return self._labels(Intent())

    @cached_property
    def _used(self) -> dict[str, frozenset[str]]:
        return {name: self._labels(intent) for name, intent in self.intent_settings.items()}

    def _labels(self, intent: Intent) -> frozenset[str]:
        hidden = [name for name, entity in self.entities.items() if not entity.influences]
        included = (
            self._every_label.difference(hidden) if intent.included is None else self._with_labels(intent.included)
        )
        return included - self._with_labels(hidden if intent.excluded is None else intent.excluded)

    def _with_labels(self, names: Iterable[str]) -> frozenset[str]:
        """These entities with the labels of all their roles and groups."""
        names = tuple(names)
        return frozenset(names).union(*(self.entities.get(name, Entity()).labels(name) for name in names))

    @cached_property
    def initial_slots(self) -> dict[str, Any]:
        """Slot values of a new conversation, in the order of the state."""
        return {name: slot.holds(slot.initial_value) for name, slot in self.slots.items()}

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over what the fold depends on: equal when the same events give the same state."""
        facts = [self.open_slots, [[name, slot.type, slot.initial_value] for name, slot in self.slots.items()]]
        return hashlib.sha256(dumps(facts).encode()).hexdigest()[:16]

    @cached_property
    def text(self) -> str:
        """The document as YAML."""
        return as_yaml(self.document)
