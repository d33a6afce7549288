from __future__ import annotations

from typing import Any

import pytest

from dialogue.policies.configuration import (
    InvalidPolicies,
    MemoizationConfig,
    Path,
    PolicyConfig,
    RulesConfig,
    parse_policies,
)


def _parsed(*policies: Any) -> tuple[PolicyConfig, ...]:
    return parse_policies({"policies": list(policies)})


def _faults(config: dict[str, Any]) -> tuple[tuple[Path, str], ...]:
    with pytest.raises(InvalidPolicies) as caught:
        parse_policies(config)
    return caught.value.faults


def _fault(policy: Any) -> tuple[Path, str]:
    [fault] = _faults({"policies": [policy]})
    return fault


def test_policies_are_in_the_order_of_the_file() -> None:
    found = _parsed({"name": "RulePolicy"}, {"name": "AugmentedMemoizationPolicy"}, {"name": "MemoizationPolicy"})
    assert found == (RulesConfig(), MemoizationConfig(augmented=True), MemoizationConfig())


def test_a_policy_is_called_as_in_the_file() -> None:
    names = ["RulePolicy", "AugmentedMemoizationPolicy", "MemoizationPolicy"]
    assert [config.name for config in _parsed(*({"name": name} for name in names))] == names


def test_rules_have_the_usual_settings() -> None:
    assert RulesConfig() == RulesConfig(
        priority=4,
        core_fallback_threshold=0.3,
        core_fallback_action_name="action_default_fallback",
        enable_fallback_prediction=True,
        restrict_rules=True,
        check_for_contradictions=True,
        use_nlu_confidence_as_score=False,
    )


def test_settings_of_rules_are_read() -> None:
    settings = {
        "priority": 6,
        "core_fallback_threshold": 0.4,
        "core_fallback_action_name": "action_ask",
        "enable_fallback_prediction": False,
        "restrict_rules": False,
        "check_for_contradictions": False,
        "use_nlu_confidence_as_score": True,
    }
    assert _parsed({"name": "RulePolicy", **settings}) == (RulesConfig(**settings),)  # type: ignore[arg-type]


def test_rules_always_have_the_whole_history() -> None:
    assert _parsed({"name": "RulePolicy", "max_history": 3}) == (RulesConfig(),)


def test_settings_of_memoization_are_read() -> None:
    settings = {"max_history": 5, "priority": 9, "use_nlu_confidence_as_score": True}
    found = _parsed({"name": "MemoizationPolicy", "enable_feature_string_compression": False, **settings})
    assert found == (MemoizationConfig(max_history=5, priority=9, use_nlu_confidence_as_score=True),)


@pytest.mark.parametrize("value", [None, 0])
def test_no_length_of_history_means_all_of_it(value: int | None) -> None:
    assert _parsed({"name": "MemoizationPolicy", "max_history": value}) == (MemoizationConfig(max_history=None),)


@pytest.mark.parametrize("config", [{}, {"policies": None}, {"policies": []}])
def test_without_policies_it_says_what_to_write(config: dict[str, Any]) -> None:
    [(path, sentence)] = _faults(config)
    assert path == ("policies",)
    assert "policies: [{name: MemoizationPolicy}, {name: RulePolicy}]" in sentence


def test_policies_that_are_no_list_are_refused() -> None:
    assert _faults({"policies": {"name": "RulePolicy"}}) == (
        (("policies",), "policies must be a list of policies, each with its name, not {'name': 'RulePolicy'}"),
    )


@pytest.mark.parametrize("item", ["RulePolicy", {"priority": 1}, {"name": 5}, None])
def test_a_policy_without_a_name_is_refused(item: Any) -> None:
    path, sentence = _fault(item)
    assert path == ("policies", 0)
    assert sentence.startswith("a policy is written '- name: RulePolicy'")


@pytest.mark.parametrize("name", ["TEDPolicy", "UnexpecTEDIntentPolicy"])
def test_a_policy_that_learns_is_refused_with_what_to_do(name: str) -> None:
    path, sentence = _fault({"name": name, "epochs": 100})
    assert path == ("policies", 0, "name")
    assert (
        sentence
        == f"{name} predicts by machine learning, which is not done here; remove it, and write rules or stories"
    )


def test_a_policy_of_old_versions_is_refused_with_what_replaces_it() -> None:
    _, sentence = _fault({"name": "FormPolicy"})
    assert sentence == (
        "FormPolicy was replaced by RulePolicy in Rasa 2.0; remove it, and write rules that start and submit each form"
    )


def test_a_policy_that_nobody_knows_is_refused() -> None:
    _, sentence = _fault({"name": "addons.MyPolicy"})
    assert sentence == (
        "the policy 'addons.MyPolicy' is not known; known are RulePolicy, MemoizationPolicy, AugmentedMemoizationPolicy"
    )


def test_a_setting_that_the_policy_does_not_have_is_refused() -> None:
    path, sentence = _fault({"name": "MemoizationPolicy", "restrict_rules": True})
    assert path == ("policies", 0, "restrict_rules")
    assert sentence.startswith("MemoizationPolicy has no setting 'restrict_rules'; it has priority, ")


@pytest.mark.parametrize(
    ("policy", "key", "value"),
    [
        ("RulePolicy", "priority", "high"),
        ("RulePolicy", "priority", True),
        ("RulePolicy", "core_fallback_threshold", 1.5),
        ("RulePolicy", "core_fallback_threshold", None),
        ("RulePolicy", "core_fallback_action_name", ""),
        ("RulePolicy", "restrict_rules", "yes"),
        ("MemoizationPolicy", "max_history", -1),
        ("MemoizationPolicy", "max_history", 2.5),
        ("MemoizationPolicy", "max_history", True),
    ],
)
def test_a_value_of_another_type_is_refused(policy: str, key: str, value: Any) -> None:
    path, sentence = _fault({"name": policy, key: value})
    assert path == ("policies", 0, key)
    assert sentence.startswith(f"{key} of {policy} must be ")
    assert sentence.endswith(f", not {value!r}")


def test_all_faults_are_told_at_once() -> None:
    faults = _faults({"policies": [{"name": "TEDPolicy"}, {"name": "RulePolicy", "priority": "x", "other": 1}]})
    assert [path for path, _ in faults] == [
        ("policies", 0, "name"),
        ("policies", 1, "priority"),
        ("policies", 1, "other"),
    ]
