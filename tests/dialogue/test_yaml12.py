"""YAML 1.2 files: scalars by the core schema, faults by file and line."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import InvalidYaml, load_yaml
from dialogue.yaml12 import MAX_DEPTH, load_with_lines
from dialogue.yaml_text import Literal, block, quick
from tests.dialogue.strategies import values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("None", "None"),
        ("~", None),
        ("", None),
        ("null", None),
        ("2020-01-01", "2020-01-01"),
        ("12:30", "12:30"),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("!!int '5'", 5),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: Any) -> None:
    assert repr(load_yaml(text, "f")) == repr(value)


def test_merge_keys_are_understood() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], x: 0}\n"
    assert load_yaml(text, "f")["c"] == {"x": 0, "y": 1, "z": 2}


def test_aliases_give_equal_values() -> None:
    assert load_yaml("a: &a [1]\nb: *a\n", "f") == {"a": [1], "b": [1]}


def test_expand_sees_every_string_and_whether_it_is_plain() -> None:
    seen = []

    def expand(text: str, plain: bool) -> str:
        seen.append((text, plain))
        return text.replace("${P}", "5432")

    value = load_yaml("port: ${P}\n'${P}': 1\nlist: [a, \"b\"]\nblock: |\n  x\n", "f", expand)
    assert value == {"port": "5432", "5432": 1, "list": ["a", "b"], "block": "x\n"}
    assert ("${P}", True) in seen
    assert ("${P}", False) in seen
    assert ("x\n", False) in seen
    assert all(isinstance(text, str) for text, _ in seen)


def test_lines_are_those_of_keys_and_items() -> None:
    _, lines = load_with_lines("a:\n  b:\n  - c\n  - d: 1\n", "f")
    assert lines[("a", "b")] == 2
    assert lines[("a", "b", 0)] == 3
    assert lines[("a", "b", 1, "d")] == 4


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' comes twice"),
        ("a:\n  - [\n", 2, "did not find expected node content"),
        ("a: *b\n", 1, "undefined alias"),
        ("--- a\n--- b\n", 2, "another document"),
        ("x\n\x07", 2, "U+0007 is not allowed"),
        ("x\n\ud800", 2, "U+D800 is not allowed"),
        ("a: !!python/object:os.system x\n", 1, "not of the YAML 1.2 core schema"),
        ("a: !!set {b}\n", 1, "not of the YAML 1.2 core schema"),
        ("a: !!bool b\n", 1, "'b' is no bool"),
        ("a: " + "9" * 5000, 1, "is no int"),
        ("? [a]\n: b\n", 1, "a key must be a scalar"),
        ("<<: a\n", 1, "only a mapping can be merged"),
        ("a: &a [*a]\n", 1, f"deeper than {MAX_DEPTH}"),
        ("[" * 100_000, 1, f"deeper than {MAX_DEPTH}"),
        ("\n" + "- " * 5000 + "a", 2, f"deeper than {MAX_DEPTH}"),
    ],
    ids=range(15),
)
def test_faults_name_file_and_line(text: str, line: int, reason: str) -> None:
    with pytest.raises(InvalidYaml, match=r"f\.yml:") as caught:
        load_yaml(text, "f.yml")
    assert (caught.value.name, caught.value.line) == ("f.yml", line)
    assert reason in caught.value.reason


def test_aliases_that_multiply_without_end_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(InvalidYaml, match="aliases repeat too much"):
        load_yaml("\n".join(lines), "f")


@given(st.text("ab:-[]{}&*!|>'\"#%,?<\n ~0.", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(InvalidYaml):
        assert load_yaml(text, "f") == load_yaml(text + "\n", "f")


def _readable(value: Any) -> bool:
    """YAML cannot say a lone surrogate, and knows one minus zero less."""
    return "\\ud" not in ascii(value).lower()


@given(values.filter(_readable))
def test_what_is_written_is_read_back(value: Any) -> None:
    assert load_yaml(block([value]), "f") == [value]


_likely = st.text("ab_1-.: é'\n", max_size=6) | st.sampled_from(["null", "True", "city", "hello there"])


@given(st.dictionaries(_likely, st.none() | _likely | _likely.map(Literal), min_size=1, max_size=2), _likely)
def test_the_quick_way_writes_what_the_general_way_does(step: dict[str, Any], key: str) -> None:
    for item in (step, {key: [step]}):
        assert quick(item) in (None, block([item]))


def test_the_quick_way_is_taken_for_what_most_stories_hold() -> None:
    steps: list[dict[str, Any]] = [
        {"intent": "greet", "user": Literal("hello [Berlin](city)")},
        {"action": "utter_greet"},
        {"slot_was_set": [{"city": "Berlin"}]},
        {"active_loop": None},
    ]
    assert [quick(step) for step in steps] == [block([step]) for step in steps]
