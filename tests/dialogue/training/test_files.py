"""Files of training data that can be read, and those that can't."""

from __future__ import annotations

import pytest

from dialogue.training.files import read_files


def faults(*texts: tuple[str, str]) -> list[str]:
    return [str(fault) for fault in read_files(texts).faults]


@pytest.mark.parametrize("version", ['version: "3.1"\n', 'version: "2.0"\n', 'version: "3.1.0"\n', ""])
def test_versions_that_are_known_or_missing_are_read(version: str) -> None:
    files = read_files([("a.yml", f"{version}stories: []\n")])
    assert [source.name for source in files.sources] == ["a.yml"]
    assert (files.faults, files.warnings) == ((), ())


def test_a_newer_file_is_skipped_with_a_warning() -> None:
    files = read_files([("a.yml", 'stories: []\nversion: "4.0"\n')])
    assert files.sources == ()
    assert [str(warning) for warning in files.warnings] == [
        "a.yml:2: the file is skipped: its version 4.0 is newer than 3.1, the newest that is known"
    ]


def test_a_version_that_is_a_number_is_a_fault() -> None:
    assert faults(("a.yml", "version: 3.1\n")) == [
        'a.yml:1: version must be text such as "3.1", in quotes, not 3.1',
    ]


def test_an_empty_file_says_nothing() -> None:
    assert read_files([("a.yml", "# later\n")]).sources == ()


def test_every_file_that_cannot_be_read_is_named() -> None:
    assert faults(("a.yml", "- a\n"), ("b.yml", "a: [\n"), ("c.yml", "nlu: []\n")) == [
        "b.yml:1: did not find expected node content while parsing a flow node",
        "a.yml:1: a file of training data is a mapping of sections such as stories, rules or nlu",
    ]


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("stories.md", "## greet\n* greet\n  - utter_greet\n", "core"),
        ("nlu.md", "## intent:greet\n- hello\n", "nlu"),
        ("data.yml", "\n## greet\n* greet\n  - utter_greet\n", "core"),
    ],
)
def test_markdown_is_a_fault_that_says_how_to_convert_it(name: str, text: str, kind: str) -> None:
    (fault,) = faults((name, text))
    assert fault.startswith(f"{name}:1: this is Markdown, the format of Rasa 1")
    assert f"'rasa data convert {kind} --format yaml --data {name} --out converted'" in fault


def test_yaml_may_begin_with_a_comment_like_a_heading() -> None:
    assert faults(("a.yml", "## My stories\nstories: []\n")) == []
