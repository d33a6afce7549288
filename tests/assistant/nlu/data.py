"""NLU data and pipelines from texts."""

from __future__ import annotations

from textwrap import indent
from typing import TYPE_CHECKING, Any

from assistant.nlu.pipeline import Pipeline
from assistant.nlu.training import TrainedNlu, train_nlu
from assistant.nlu.training_data import NluFiles, read_nlu
from dialogue.source import read_sources
from dialogue.training.files import read_files
from tests.assistant.scenes import domain_from

if TYPE_CHECKING:
    from dialogue import Domain

Json = dict[str, Any]

DOMAIN = domain_from("intents: [greet, bye, inform]\nentities: [city, code]\n")


def read(*texts: str) -> NluFiles:
    """What the files 1.yml, 2.yml... hold."""
    files = read_files([(f"{index}.yml", text) for index, text in enumerate(texts, 1)])
    assert not files.faults
    return read_nlu(files.sources)


def examples(intent: str, *texts: str) -> str:
    """An item of `nlu`."""
    return item("intent", intent, *texts)


def item(kind: str, name: str, *texts: str) -> str:
    """An item of `nlu` of any kind."""
    return f"  - {kind}: {name}\n    examples: |\n" + indent("".join(f"- {text}\n" for text in texts), "      ")


def nlu(*items: str) -> str:
    """A file with these items."""
    return "nlu:\n" + "".join(items)


def learned(components: str, *items: str) -> TrainedNlu:
    """What a pipeline, a YAML list, learns from the items of a file."""
    sources, faults = read_sources([("config.yml", f"pipeline:\n{components}\n")])
    assert not faults
    files = read(nlu(*items)) if items else read()
    assert not files.faults
    return train_nlu(sources[0], files.data)


def faults(components: str, *items: str) -> list[str]:
    return [str(fault) for fault in learned(components, *items).faults]


def warnings(components: str, *items: str) -> list[str]:
    return [str(warning) for warning in learned(components, *items).warnings]


async def parsed(text: str, components: str, *items: str, domain: Domain = DOMAIN) -> Json:
    """What a message is understood as."""
    trained = learned(components, *items)
    assert not trained.faults
    return await Pipeline(trained.model, domain).parse(text, "c")
