"""Archives that Rasa made, laid out as its versions do it: their domain is used, and nothing is unpickled."""

from __future__ import annotations

import json
import pickle
import tarfile
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assistant.archive import load_model, read_metadata
from assistant.project import InvalidModel
from assistant.rasa_archive import model_of_rasa
from dialogue import InvalidDomain, Slot

if TYPE_CHECKING:
    from pathlib import Path

Files = dict[str, str | bytes]


class _Harm:
    """What runs when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (pytest.fail, ("something was unpickled",))


PICKLE: Final = pickle.dumps(_Harm())

DOMAIN: Final = """
version: '3.1'
session_config: {session_expiration_time: 30, carry_over_slots_to_new_session: false}
intents: [greet, {bye: {use_entities: []}}]
entities: [city]
slots: {city: {type: text, initial_value: Rome, mappings: [{type: from_entity, entity: city}]}}
responses: {utter_greet: [{text: Hello}]}
e2e_actions: []
"""
RASA_3: Final[Files] = {
    "metadata.json": json.dumps(
        {
            "domain": {},
            "trained_at": "2023-05-05T10:00:00.000000",
            "model_id": "0123456789abcdef0123456789abcdef",
            "assistant_id": "joe",
            "rasa_open_source_version": "3.6.21",
            "training_type": 3,
        }
    ),
    "components/domain_provider/domain.yml": DOMAIN,
    "components/train_RulePolicy1/rule_policy.json": "{}",
    "components/train_CountVectorsFeaturizer2/vocabularies.pkl": PICKLE,
}

OLD_DOMAIN: Final = """
config: {store_entities_as_slots: true}
session_config: {session_expiration_time: 60, carry_over_slots_to_new_session: true}
intents: [{greet: {use_entities: true}}, bye]
entities: [city]
slots:
  city: {type: rasa.core.slots.TextSlot, initial_value: null, auto_fill: true}
  seen: {type: rasa_core.slots.BooleanSlot, initial_value: false}
  any: {type: unfeaturized, initial_value: 3}
  kind: {type: categorical, values: [a, b]}
templates: {utter_greet: [{text: hi}], utter_bye: [See you]}
actions: [utter_greet, action_x]
forms: [table_form]
"""
RASA_1: Final[Files] = {
    "fingerprint.json": '{"version": "1.10.26", "trained_at": 1.5}',
    "core/domain.yml": OLD_DOMAIN,
    "core/metadata.json": '{"rasa": "1.10.26"}',
    "core/policy_0_MemoizationPolicy/featurizer.json": "{}",
    "nlu/metadata.json": '{"rasa_version": "1.10.26"}',
    "nlu/component_1.pkl": PICKLE,
}
RASA_0: Final[Files] = {
    "policy_metadata.json": '{"rasa_core": "0.9.8", "py/object": "os.system"}',
    "domain.yml": OLD_DOMAIN,
    "policy_0_KerasPolicy/model.pkl": PICKLE,
}


def packed(folder: Path, files: Files, name: str) -> Path:
    """An archive as Rasa makes one: of a folder, with entries for all folders."""
    for file, content in files.items():
        path = folder / "content" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if name.endswith(".zip"):
        with zipfile.ZipFile(folder / name, "w") as zipped:
            for path in sorted((folder / "content").rglob("*")):
                zipped.write(path, path.relative_to(folder / "content"))
    else:
        with tarfile.open(folder / name, "w:gz") as tar:
            tar.add(folder / "content", arcname="")
    return folder / name


def test_of_rasa_3_the_domain_is_used(tmp_path: Path) -> None:
    path = packed(tmp_path, RASA_3, "m.tar.gz")
    model = load_model(path).model
    assert (model.file, model.id, model.assistant_id) == ("m.tar.gz", "0123456789abcdef0123456789abcdef", "joe")
    assert model.domain.initial_slots == {"city": "Rome", "session_started_metadata": None}
    assert (model.domain.intents, model.domain.session_expiration_minutes) == (("bye", "greet"), 30)
    assert model.dialogue is None
    assert read_metadata(path) is None


@pytest.mark.parametrize(
    ("files", "name", "made_by"),
    [(RASA_3, "m.tar.gz", "Rasa 3.6.21"), (RASA_1, "m.tar.gz", "Rasa 1.10.26"), (RASA_0, "m.zip", "Rasa 0.9.8"),
     ({"domain.yml": DOMAIN}, "m.zip", "Rasa")],
    ids=["3", "1", "0", "unknown"],
)  # fmt: skip
def test_it_is_said_why_it_predicts_nothing(tmp_path: Path, files: Files, name: str, made_by: str) -> None:
    trained = load_model(packed(tmp_path, files, name))
    reason = (
        f"{made_by} made this archive: its domain is used, but what was learned can't be read here, so nothing is "
        "predicted; make an archive of the project with `turnlog train`"
    )
    assert trained.model.hindrance == reason
    assert [str(warning) for warning in trained.warnings] == [f"{name}:1: {reason}"]


@pytest.mark.parametrize(("files", "name"), [(RASA_1, "m.tar.gz"), (RASA_0, "m.zip")], ids=["1", "0"])
def test_an_old_domain_is_understood(tmp_path: Path, files: Files, name: str) -> None:
    domain = load_model(packed(tmp_path, files, name)).model.domain
    assert {slot: (found.type, found.initial_value) for slot, found in domain.filled_slots.items()} == {
        "city": ("text", None),
        "seen": ("bool", False),
        "any": ("any", 3),
        "kind": ("categorical", None),
    }
    assert domain.responses == {"utter_greet": ({"text": "hi"},), "utter_bye": ({"text": "See you"},)}
    assert (domain.intents, list(domain.forms)) == (("bye", "greet"), ["table_form"])
    assert domain.slots["requested_slot"] == Slot("any")


@pytest.mark.parametrize(
    "form", ["{city: [{type: from_text}]}", "{required_slots: {city: [{type: from_text}]}}", "{required_slots: [city]}"]
)
def test_forms_of_every_age_are_understood(tmp_path: Path, form: str) -> None:
    domain = f"slots: {{city: {{type: text}}}}\nforms: {{table_form: {form}}}\n"
    model = load_model(packed(tmp_path, {"domain.yml": domain}, "m.zip")).model
    assert model.domain.forms["table_form"].required_slots == ("city",)


def test_the_same_archive_is_the_same_model(tmp_path: Path) -> None:
    ids = {load_model(packed(tmp_path, RASA_0, name)).model.id for name in ("a.zip", "b.tar.gz")}
    assert len(ids) == 1


def test_the_name_of_the_assistant_may_be_in_its_configuration(tmp_path: Path) -> None:
    model = load_model(packed(tmp_path, RASA_0 | {"config.yml": "assistant_id: ann\n"}, "m.zip")).model
    assert model.assistant_id == "ann"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"nlu/model.pkl": PICKLE}, ": holds neither a model of `turnlog train` nor a domain.yml"),
        (RASA_3 | {"metadata.json": "{"}, ": the member 'metadata.json' can't be used: Input data was truncated"),
        (RASA_0 | {"policy_metadata.json": "{"}, ": the member 'policy_metadata.json' can't be used: "),
        ({"domain.yml": b"slots: \xff"}, ": the member 'domain.yml' can't be used: byte 7 is not UTF-8"),
        ({"domain.yml": "slots: {"}, "/domain.yml:1: "),
        ({"core/domain.yml": "intents: 7"}, "/core/domain.yml:1: intents must be a list, not 7"),
        (RASA_0 | {"config.yml": "a: {"}, ": config.yml:1: "),
    ],
    ids=["no domain", "metadata", "notes", "Latin-1", "no YAML", "faults", "configuration"],
)
def test_what_can_not_be_used_is_named(tmp_path: Path, files: Files, reason: str) -> None:
    path = packed(tmp_path, files, "m.zip")
    with pytest.raises(InvalidModel) as caught:
        load_model(path)
    assert str(caught.value).startswith(f"{path}{reason}")


_SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(["text", "rasa.core.slots.TextSlot", "city"])
_KEYS = st.sampled_from(["a", "type", "mappings", "required_slots", "ignored_intents", "text"])
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3))
_SECTIONS = st.sampled_from(["slots", "responses", "templates", "forms", "intents"])


@given(document=_VALUES | st.dictionaries(_SECTIONS, _VALUES | st.dictionaries(_KEYS, _VALUES)))
def test_of_a_faulty_domain_the_faults_are_found(document: object) -> None:
    text = json.dumps(document).encode()
    with suppress(InvalidDomain):
        assert model_of_rasa({"domain.yml": text}, "m.zip").trained_by == "Rasa"
