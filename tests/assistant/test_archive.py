"""Archives of our own: what is loaded is what was saved."""

from __future__ import annotations

import json
import os
import zipfile
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from assistant.archive import load_model, newest_archive, read_metadata, save_model
from assistant.encoding import METADATA, fingerprint, members_of
from assistant.packing import write_archive
from assistant.project import InvalidModel
from dialogue.training.files import InvalidTraining
from tests.assistant.bots import BOTS
from tests.assistant.test_example import EXAMPLE
from tests.assistant.test_projects import WHOLE, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from assistant.model import Model

SUFFIXES = (".tar.gz", ".zip")
Members = dict[str, bytes]


def trainable(folder: Path) -> bool:
    try:
        load_model(folder)
    except InvalidTraining:
        return False
    return True


TRAINABLE = [EXAMPLE, *(folder for folder in sorted(BOTS.iterdir()) if trainable(folder))]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return load_model(write(tmp_path / "project", WHOLE)).model


def saved(model: Model, path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_model(model, path)
    return path


class TestWhatIsSaved:
    def test_enough_bots_train(self) -> None:
        assert len(TRAINABLE) > 50

    @pytest.mark.parametrize("folder", TRAINABLE, ids=lambda folder: folder.name)
    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_is_loaded(self, tmp_path: Path, folder: Path, suffix: str) -> None:
        model = load_model(folder).model
        loaded = load_model(saved(model, tmp_path / f"m{suffix}"))
        assert loaded.model == replace(model, file=f"m{suffix}")
        assert loaded.warnings == ()

    def test_may_hold_any_number(self, tmp_path: Path) -> None:
        slot = "{type: any, initial_value: [123456789012345678901234567890, 1e300, -0.0], mappings: [{type: custom}]}"
        model = load_model(write(tmp_path, {"domain.yml": f"slots: {{a: {slot}}}"})).model
        assert load_model(saved(model, tmp_path / "m.zip")).model.domain.slots == model.domain.slots

    def test_shows_the_same_domain(self, tmp_path: Path, model: Model) -> None:
        assert load_model(saved(model, tmp_path / "m.zip")).model.domain.text == model.domain.text

    def test_is_called_as_it_was_where_it_came_from(self, tmp_path: Path, model: Model) -> None:
        path = saved(model, tmp_path / "m.zip").rename(tmp_path / "fetched")
        assert load_model(path, name="joe.zip").model.file == "joe.zip"

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_has_the_same_bytes_but_for_the_time(self, model: Model, suffix: str, tmp_path: Path) -> None:
        members = members_of(model)
        for name in ("a", "b"):
            write_archive(tmp_path / f"{name}{suffix}", members)
            os.utime(tmp_path / f"{name}{suffix}", (1, 1))
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()
        assert changed(members, trained_at="now") == changed(members_of(model), trained_at="now")

    def test_says_what_it_is(self, tmp_path: Path, model: Model) -> None:
        metadata = read_metadata(saved(model, tmp_path / "m.tar.gz"))
        assert metadata is not None
        assert (metadata.model_id, metadata.parts) == (model.id, ("core", "nlu"))
        assert metadata.fingerprint == fingerprint(model.id)
        assert datetime.fromisoformat(metadata.trained_at).utcoffset() is not None

    def test_takes_the_place_of_what_was_there_at_once(self, tmp_path: Path, model: Model) -> None:
        path = saved(model, tmp_path / "m.zip")
        with path.open("rb") as before:
            other = replace(model, id="0" * 32)
            save_model(other, path)
            with zipfile.ZipFile(before) as archive:
                assert json.loads(archive.read(METADATA))["model_id"] == model.id
        assert load_model(path).model.id == other.id

    def test_is_whole_or_not_there(self, tmp_path: Path, model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(_file: int) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            save_model(model, tmp_path / "m.zip")
        assert [path.name for path in tmp_path.iterdir()] == ["project"]

    def test_can_be_read_by_others_as_the_umask_says(self, tmp_path: Path, model: Model) -> None:
        (tmp_path / "plain").touch()
        assert saved(model, tmp_path / "m.zip").stat().st_mode == (tmp_path / "plain").stat().st_mode


def changed(members: Members, **facts: Any) -> Members:
    """An archive's members with other metadata."""
    return members | {METADATA: json.dumps(json.loads(members[METADATA]) | facts).encode()}


def _without(name: str) -> Callable[[Members], Members]:
    return lambda members: {key: value for key, value in members.items() if key != name}


def _with(name: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    return lambda members: members | {name: change(members[name])}


BROKEN: dict[str, tuple[Callable[[Members], Members], str]] = {
    "a newer format": (
        lambda members: changed(members, turnlog_format=2, turnlog_version="9.9"),
        "its format 2 is newer than 1, the newest that is known; it was made by Turnlog 9.9",
    ),
    "metadata that are no JSON": (_with(METADATA, lambda _: b"{"), "the member 'metadata.json' can't be used: Input"),
    "metadata without an id": (
        _with(METADATA, lambda _: b'{"turnlog_format": 1}'),
        "the member 'metadata.json' can't be used: Object missing required field `turnlog_version`",
    ),
    "no domain": (_without("domain.json"), "the member 'domain.json' is missing"),
    "no policies": (_without("dialogue.json"), "the member 'dialogue.json' is missing"),
    "no NLU": (_without("nlu.msgpack"), "the member 'nlu.msgpack' is missing"),
    "a domain of something else": (
        _with("domain.json", lambda _: b'{"slots": [], "document": {}}'),
        "the member 'domain.json' can't be used: Expected `object`, got `array` - at `$.slots`",
    ),
    "half a domain": (_with("domain.json", lambda data: data[:50]), "the member 'domain.json' can't be used: Input"),
    "a domain in Latin-1": (
        _with("domain.json", lambda data: data.replace(b"Hello", b"Hell\xf6")),
        "the member 'domain.json' can't be used: 'utf-8'",
    ),
    "an unknown component": (
        _with("nlu.msgpack", lambda data: data.replace(b"KeywordIntent", b"PickledIntent")),
        "the member 'nlu.msgpack' can't be used: Invalid value 'PickledIntentClassifier'",
    ),
    "a table that is not the policy's": (
        _with("dialogue.json", lambda data: data.replace(b'"tables":[{"type":"rules"', b'"tables":[{"type":"rulez"')),
        "the member 'dialogue.json' can't be used: Invalid value 'rulez'",
    ),
    "a table too few": (
        _with("dialogue.json", lambda data: json.dumps(json.loads(data) | {"tables": []}).encode()),
        "the member 'dialogue.json' can't be used: its tables are not those of its policies",
    ),
    "an action that nobody knows": (
        _with("dialogue.json", lambda data: data.replace(b'"utter_greet"', b'"utter_harm"')),
        "the member 'dialogue.json' can't be used: it predicts the action 'utter_harm', which the domain does not have",
    ),
    "a rule that is none": (
        _with("dialogue.json", lambda data: data.replace(b'"rules":{"[', b'"rules":{"{')),
        "the member 'dialogue.json' can't be used: it holds a rule that can't be read",
    ),
    "a rule of another shape": (
        _with("dialogue.json", lambda data: data.replace(b'{\\"intent\\": \\"greet\\"}', b"7")),
        "the member 'dialogue.json' can't be used: it holds a rule that can't be read",
    ),
}


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_refused(tmp_path: Path, model: Model, name: str, suffix: str) -> None:
    change, reason = BROKEN[name]
    path = tmp_path / f"m{suffix}"
    members = members_of(model)
    assert change(members) != members
    write_archive(path, change(members))
    with pytest.raises(InvalidModel) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


class TestFolderOfArchives:
    def test_the_newest_counts(self, tmp_path: Path, model: Model) -> None:
        for name, seconds in (("a.zip", 3), ("b.tar.gz", 5), ("c.zip", 4)):
            os.utime(saved(replace(model, id=name), tmp_path / "models" / name), (seconds, seconds))
        assert load_model(tmp_path / "models").model.id == "b.tar.gz"

    def test_of_a_broken_one_it_is_said_which(self, tmp_path: Path, model: Model) -> None:
        os.utime(saved(model, tmp_path / "good.tar.gz"), (1, 1))
        (tmp_path / "bad.tar.gz").write_bytes(b"?")
        with pytest.raises(InvalidModel, match=r"/bad\.tar\.gz: can't be read as a \.tar\.gz file: Not a gzipped file"):
            load_model(tmp_path)

    def test_what_is_no_archive_is_not_looked_at(self, tmp_path: Path, model: Model) -> None:
        good = saved(model, tmp_path / "good.tar.gz")
        (tmp_path / ".good.tar.gz.1234.part").touch()
        (tmp_path / "folder.zip").mkdir()
        assert newest_archive(tmp_path) == good

    def test_there_may_be_none(self, tmp_path: Path) -> None:
        assert newest_archive(tmp_path) is newest_archive(tmp_path / "no") is None


@pytest.mark.parametrize("name", ["m.rar", "m"])
def test_another_file_is_no_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InvalidModel, match="is neither a project's folder, nor a domain file, nor an archive"):
        load_model(tmp_path / name)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"/m\.zip: can't be read as a zip file: .*No such file"):
        load_model(tmp_path / "m.zip")
