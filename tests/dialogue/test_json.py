"""The wire JSON: Python's semantics, one canonical text, and a sentence for everything that is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue import MAX_DEPTH, InvalidJson, dumps, loads
from tests.dialogue.strategies import texts, values


def same(left: Any, right: Any) -> bool:
    """Equal also in type: 1, 1.0 and True are three values."""
    return repr(left) == repr(right)


@given(values)
def test_what_is_written_is_read_back_exactly(value: Any) -> None:
    assert same(loads(dumps(value).encode()), value)


@given(values)
def test_the_canonical_text_is_ascii_and_what_the_standard_library_writes(value: Any) -> None:
    text = dumps(value)
    assert text.isascii()
    assert text == json.dumps(value, separators=(",", ":"))


@given(values, st.booleans(), st.sampled_from([None, 1]))
def test_any_other_spelling_of_a_value_is_read_as_the_standard_library_reads_it(
    value: Any, ascii_only: bool, indent: int | None
) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")
    assert same(loads(body), json.loads(body))


@given(st.binary(max_size=30) | st.text('[]{}",:0123456789.eE+-\\u tfnNaI', max_size=30).map(str.encode))
def test_any_bytes_are_read_as_the_standard_library_reads_them_or_refused(body: bytes) -> None:
    try:
        value = loads(body)
    except InvalidJson:
        return
    assert same(value, json.loads(body.decode()))


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a":1,"b":2,"a":3}', {"a": 3, "b": 2}),
        (b'"\\ud83d"', "\ud83d"),
        (b'"a\\u0000b"', "a\0b"),
        (b"18446744073709551616", 2**64),
        (b"1" * 4300, int("1" * 4300)),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
        (b'"' + b"[" * 2 * MAX_DEPTH + b'"', "[" * 2 * MAX_DEPTH),
    ],
    ids=["the last key wins", "lone surrogate", "nul", "over 64 bits", "4300 digits", "deepest", "brackets in text"],
)
def test_unusual_texts_are_accepted(body: bytes, value: Any) -> None:
    assert value is None or same(loads(body), value)
    assert dumps(loads(body))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "Expecting value"),
        (b"hello", "Expecting value"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e400", "the number 1e400 is too large"),
        (b"1" * 4301, "4300 digits"),
        (b'"\xff"', "byte 1 is not UTF-8"),
        (b'\xef\xbb\xbf{"a":1}', "BOM"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), f"deeper than {MAX_DEPTH}"),
        (b'{"a":' * 100_000, f"deeper than {MAX_DEPTH}"),
    ],
    ids=["empty", "word", "nan", "infinity", "overflow", "digits", "utf-8", "bom", "depth", "great depth"],
)
def test_a_refusal_says_why_in_one_short_line(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidJson, match=reason) as caught:
        loads(body)
    assert len(str(caught.value)) < 200
    assert "\n" not in str(caught.value)


@given(texts)
def test_depth_is_not_misled_by_brackets_inside_of_texts(text: str) -> None:
    deep = [text + "[" * MAX_DEPTH, "{" * MAX_DEPTH + text, "\\" + text, '"[' + text]
    assert loads(dumps(deep).encode()) == deep


def test_a_text_full_of_quotes_that_never_end_is_refused_without_looking_twice() -> None:
    with pytest.raises(InvalidJson):
        loads(b"[" * (MAX_DEPTH + 1) + b'"' + b'\\"' * 1_000_000)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_does_not_have_are_not_written(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps([number])
