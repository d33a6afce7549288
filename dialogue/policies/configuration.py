"""Which policies predict, and how: the `policies` of config.yml."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

from msgspec import Struct

Path = tuple[str | int, ...]


class RulesConfig(Struct, frozen=True, kw_only=True, tag="rules"):
    """RulePolicy: predicts by rules, and falls back where there are none. Fields are called as in config.yml."""

    name: ClassVar[str] = "RulePolicy"

    priority: int = 4
    core_fallback_threshold: float = 0.3  #: the confidence of a fallback
    core_fallback_action_name: str = "action_default_fallback"
    enable_fallback_prediction: bool = True
    restrict_rules: bool = True  #: whether training refuses rules with more than one user message
    check_for_contradictions: bool = True  #: of rules with each other and with stories, in training
    use_nlu_confidence_as_score: bool = False


class MemoizationConfig(Struct, frozen=True, kw_only=True, tag="memoization"):
    """MemoizationPolicy: follows stories to the letter; if augmented, also when what came before is unknown.

    `max_history` counts states, that is actions and not messages; None for all since the session began.
    """

    augmented: bool = False
    priority: int = 3
    max_history: int | None = None
    use_nlu_confidence_as_score: bool = False

    @property
    def name(self) -> str:
        """The policy's class, as it is called in config.yml and in `action` events."""
        return "AugmentedMemoizationPolicy" if self.augmented else "MemoizationPolicy"


PolicyConfig = RulesConfig | MemoizationConfig


class InvalidPolicies(ValueError):
    """The policies of a config.yml can't be used; `faults` are (path of keys and indexes, sentence), in file order."""

    def __init__(self, faults: list[tuple[Path, str]]) -> None:
        super().__init__("\n".join(sentence for _, sentence in faults))
        self.faults = tuple(faults)


def parse_policies(config: Mapping[str, Any]) -> tuple[PolicyConfig, ...]:
    """Return the policies that a config.yml (parsed, a mapping) names, in its order.

    Raises InvalidPolicies with every fault.
    """
    items = config.get("policies")
    faults = list(_list_faults(items))
    if faults:
        raise InvalidPolicies(faults)
    return tuple(_built(item) for item in items or ())


def _list_faults(items: Any) -> Iterator[tuple[Path, str]]:
    if not items:
        yield ("policies",), _NO_POLICIES
    elif not isinstance(items, list):
        yield ("policies",), f"policies must be a list of policies, each with its name, not {_short(items)}"
    else:
        for index, item in enumerate(items):
            for path, sentence in _item_faults(item):
                yield ("policies", index, *path), sentence


def _item_faults(item: Any) -> Iterator[tuple[Path, str]]:
    name = item.get("name") if isinstance(item, dict) else None
    if not isinstance(name, str):
        yield (), f"a policy is written '- name: RulePolicy', with its settings below, not {_short(item)}"
    elif name not in _SETTINGS:
        yield ("name",), _unusable(name)
    else:
        for key, value in item.items():
            reason = None if key == "name" else _setting_fault(name, key, value)
            if reason:
                yield (key,), reason


def _setting_fault(policy: str, key: Any, value: Any) -> str | None:
    settings = _SETTINGS[policy]
    if key not in settings:
        return f"{policy} has no setting {_short(key)}; it has {', '.join(settings)}"
    wanted, fits = settings[key]
    return None if fits(value) else f"{key} of {policy} must be {wanted}, not {_short(value)}"


def _unusable(name: str) -> str:
    if name in _LEARNING:
        return f"{name} predicts by machine learning, which is not done here; remove it, and write rules or stories"
    if name in _REPLACED:
        return f"{name} was replaced by RulePolicy in Rasa 2.0; remove it, and {_REPLACED[name]}"
    return f"the policy {_short(name)} is not known; known are {', '.join(_SETTINGS)}"


def _built(item: dict[str, Any]) -> PolicyConfig:
    settings = {key: value for key, value in item.items() if key not in _WITHOUT_EFFECT}
    if item["name"] == RulesConfig.name:
        settings.pop("max_history", None)
        return RulesConfig(**settings)
    settings["max_history"] = settings.get("max_history") or None
    return MemoizationConfig(augmented=item["name"] == "AugmentedMemoizationPolicy", **settings)


def _short(value: Any) -> str:
    return repr(value)[:100]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Kind = tuple[str, Callable[[Any], bool]]
_FLAG: Final[_Kind] = ("true or false", lambda value: isinstance(value, bool))
_INTEGER: Final[_Kind] = ("a whole number", _is_count)
_SHARE: Final[_Kind] = ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_ACTION: Final[_Kind] = ("the name of an action", lambda value: isinstance(value, str) and value != "")
_HISTORY: Final[_Kind] = (
    "a number of actions, or null for all",
    lambda value: value is None or (_is_count(value) and value >= 0),
)

_COMMON: Final[dict[str, _Kind]] = {"priority": _INTEGER, "use_nlu_confidence_as_score": _FLAG, "max_history": _HISTORY}
_MEMOIZATION: Final = _COMMON | {"enable_feature_string_compression": _FLAG}
_SETTINGS: Final[dict[str, dict[str, _Kind]]] = {
    "RulePolicy": _COMMON
    | {
        "core_fallback_threshold": _SHARE,
        "core_fallback_action_name": _ACTION,
        "enable_fallback_prediction": _FLAG,
        "restrict_rules": _FLAG,
        "check_for_contradictions": _FLAG,
    },
    "MemoizationPolicy": _MEMOIZATION,
    "AugmentedMemoizationPolicy": _MEMOIZATION,
}
_WITHOUT_EFFECT: Final = frozenset({"name", "enable_feature_string_compression"})

_NO_POLICIES: Final = (
    "no policies are given; Rasa would choose some, which predict by machine learning; "
    "write those that shall predict, as in 'policies: [{name: MemoizationPolicy}, {name: RulePolicy}]'"
)
_LEARNING: Final = frozenset(
    {"TEDPolicy", "UnexpecTEDIntentPolicy", "EmbeddingPolicy", "KerasPolicy", "SklearnPolicy"},
)
_REPLACED: Final = {
    "MappingPolicy": "write a rule for each intent that triggers an action",
    "FormPolicy": "write rules that start and submit each form",
    "FallbackPolicy": "set core_fallback_threshold and core_fallback_action_name of RulePolicy",
    "TwoStageFallbackPolicy": "write a rule from nlu_fallback to action_two_stage_fallback",
}
