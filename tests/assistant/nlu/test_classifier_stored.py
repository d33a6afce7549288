"""What a LogisticRegressionClassifier has learned, written and read again: plain arrays, which are checked."""

from __future__ import annotations

import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from assistant.archive import load_model, save_model
from assistant.encoding import members_of
from assistant.nlu.pipeline import NluModel, Pipeline
from assistant.packing import write_archive
from assistant.project import InvalidModel
from tests.assistant.nlu.data import DOMAIN, examples, learned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Json = dict[str, Any]

COMPONENTS = "- name: WhitespaceTokenizer\n- name: CountVectorsFeaturizer\n- name: LogisticRegressionClassifier\n"
ITEMS = examples("greet", "hello", "hi there"), examples("bye", "bye", "see you there")
KEYWORDS = "pipeline: [{name: KeywordIntentClassifier}]\n"
NLU = "nlu:\n" + "".join(ITEMS)


def trained() -> NluModel:
    return learned(COMPONENTS, *ITEMS).model


def project(folder: Path, pipeline: str) -> Path:
    """A folder with a project."""
    (folder / "data").mkdir(parents=True)
    (folder / "domain.yml").write_text("intents: [greet, bye]\n")
    (folder / "data" / "nlu.yml").write_text(NLU)
    (folder / "config.yml").write_text(pipeline)
    return folder


def changed(change: Callable[[Json], object]) -> bytes:
    """The model as it is written, after something was done to its classifier."""
    model = msgspec.msgpack.decode(msgspec.msgpack.encode(trained()))
    change(model["components"][-1])
    return msgspec.msgpack.encode(model)


async def test_an_archive_has_the_same_model(tmp_path: Path) -> None:
    model = load_model(project(tmp_path / "bot", f"pipeline:\n{COMPONENTS}")).model
    save_model(model, tmp_path / "bot.tar.gz")
    loaded = load_model(tmp_path / "bot.tar.gz").model
    assert loaded.nlu == model.nlu
    assert await Pipeline(loaded.nlu, DOMAIN).parse("hi", "c") == await Pipeline(model.nlu, DOMAIN).parse("hi", "c")


NOT_A_NUMBER, INFINITE = struct.pack("<f", float("nan")), struct.pack("<f", float("inf"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda classifier: classifier.update(coefficients=classifier["coefficients"][:-4]),
            "coefficients must be 12 numbers of 4 bytes, not 44 bytes",
        ),
        (
            lambda classifier: classifier.update(intercepts=classifier["intercepts"][:-1]),
            "intercepts must be 2 numbers of 4 bytes, not 7 bytes",
        ),
        (lambda classifier: classifier.update(intercepts=NOT_A_NUMBER * 2), "intercepts must be finite numbers"),
        (lambda classifier: classifier.update(coefficients=INFINITE * 12), "coefficients must be finite numbers"),
        (lambda classifier: classifier.update(intents=["greet"]), "coefficients must be 6 numbers of 4 bytes"),
        (lambda classifier: classifier.update(intents=[]), "intents must be at least one"),
        (
            lambda classifier: classifier["features"][0]["vocabulary"].append("more"),
            "weights must be 7 numbers of 4 bytes, not 24 bytes",
        ),
        (lambda classifier: classifier["features"][0]["ngrams"].update(analyzer="x"), "Invalid enum value 'x'"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, change: Callable[[Json], object], reason: str) -> None:
    model = load_model(project(tmp_path / "bot", KEYWORDS)).model
    write_archive(tmp_path / "bot.zip", members_of(model) | {"nlu.msgpack": changed(change)})
    with pytest.raises(InvalidModel, match=reason):
        load_model(tmp_path / "bot.zip")


def test_a_classifier_without_a_tokenizer_is_refused() -> None:
    model = msgspec.msgpack.decode(msgspec.msgpack.encode(trained()))
    del model["components"][0]
    with pytest.raises(msgspec.ValidationError, match="has no tokenizer before it"):
        msgspec.msgpack.decode(msgspec.msgpack.encode(model), type=NluModel)


def test_without_numpy_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    written = msgspec.msgpack.encode(trained())
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(msgspec.ValidationError, match=r"install it, for example by `pip install -r requirements-class"):
        msgspec.msgpack.decode(written, type=NluModel)


def imports(path: Path) -> set[str]:
    """Which of the extra's packages a process has that loads a model and understands a message."""
    program = f"""
import asyncio, sys
from pathlib import Path
from assistant.archive import load_model
from assistant.nlu.pipeline import Pipeline
model = load_model(Path({str(path)!r})).model
asyncio.run(Pipeline(model.nlu, model.domain).parse("hi", "c"))
print(*{{"numpy", "scipy", "sklearn"}} & sys.modules.keys())
"""
    return set(
        subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    )


def test_a_model_without_a_classifier_imports_nothing_of_it(tmp_path: Path) -> None:
    assert imports(project(tmp_path / "bot", KEYWORDS)) == set()


def test_to_use_a_classifier_numpy_suffices(tmp_path: Path) -> None:
    save_model(load_model(project(tmp_path / "bot", f"pipeline:\n{COMPONENTS}")).model, tmp_path / "bot.tar.gz")
    assert imports(tmp_path / "bot.tar.gz") == {"numpy"}
