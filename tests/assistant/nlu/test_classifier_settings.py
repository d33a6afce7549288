"""LogisticRegressionClassifier and what is before it: what is wrong or odd in a configuration."""

from __future__ import annotations

import sys

import pytest

from tests.assistant.nlu.data import examples, faults, item, learned, warnings

TOKENIZER = "- name: WhitespaceTokenizer\n"
FEATURIZER = "- name: CountVectorsFeaturizer\n"
CLASSIFIER = "- name: LogisticRegressionClassifier\n"
ITEMS = examples("greet", "hello", "hi"), examples("bye", "bye", "see you")
INSTALL = (
    "LogisticRegressionClassifier needs the extra `classifier` of Turnlog, which is not installed; install it, for "
    "example by `pip install -r requirements-classifier.lock`"
)


@pytest.mark.parametrize(
    ("components", "fault"),
    [
        (FEATURIZER + CLASSIFIER, "2: CountVectorsFeaturizer must come after a tokenizer, such as WhitespaceTokenizer"),
        (
            TOKENIZER + CLASSIFIER + FEATURIZER,
            "3: LogisticRegressionClassifier must come after a featurizer, such as CountVectorsFeaturizer",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  analyzer: words",
            "4: CountVectorsFeaturizer: analyzer must be one of word, char, char_wb, not 'words'",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  max_ngram: 0",
            "4: CountVectorsFeaturizer: max_ngram must be a whole number of at least 1, not 0",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  min_df: 1.5",
            "4: CountVectorsFeaturizer: min_df must be a number of examples or a share of them, not 1.5",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  stop_words: german",
            "4: CountVectorsFeaturizer: stop_words must be 'english' or a list of words, not 'german'",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  solver: newton-cholesky",
            "5: LogisticRegressionClassifier: solver must be one of lbfgs, newton-cg, sag, saga, liblinear, not "
            "'newton-cholesky'",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  tol: 0",
            "5: LogisticRegressionClassifier: tol must be a number above 0, not 0",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  ranking_length: all",
            "5: LogisticRegressionClassifier: ranking_length must be a whole number, 0 for all, not 'all'",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  min_ngram: 3\n{CLASSIFIER}",
            "5: a CountVectorsFeaturizer has min_ngram 3, which is more than max_ngram 1",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}  stop_words: [hello, hi, bye, see, you]\n{CLASSIFIER}",
            "5: a CountVectorsFeaturizer finds nothing in the examples: empty vocabulary; perhaps the documents only "
            "contain stop words",
        ),
    ],
)
def test_faults_say_where_and_what(components: str, fault: str) -> None:
    assert faults(components, *ITEMS) == [f"config.yml:{fault}"]


@pytest.mark.parametrize(
    ("components", "warning"),
    [
        (
            f"{TOKENIZER}{FEATURIZER}  OOV_token: oov\n{CLASSIFIER}",
            "4: CountVectorsFeaturizer has no setting 'OOV_token' here, so it is ignored; it has analyzer, min_ngram, "
            "max_ngram, lowercase, strip_accents, stop_words, min_df, max_df, max_features",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  class_weight: balanced",
            "5: LogisticRegressionClassifier has no setting 'class_weight' here, so it is ignored; it has solver, "
            "max_iter, tol, random_state, ranking_length",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  solver: liblinear",
            "5: the solver 'liblinear' is not used here; lbfgs takes its place",
        ),
        (
            f"{TOKENIZER}{FEATURIZER}{CLASSIFIER}  max_iter: 1",
            "4: LogisticRegressionClassifier was not done when its iterations were; raise max_iter",
        ),
        (f"{TOKENIZER}{FEATURIZER}- name: KeywordIntentClassifier", "3: no classifier looks at CountVectorsFeaturizer"),
    ],
)
def test_what_is_without_effect_is_odd(components: str, warning: str) -> None:
    assert warnings(components, *ITEMS) == [f"config.yml:{warning}"]


def test_all_settings_of_rasa_can_stay() -> None:
    trained = learned(
        f"""{TOKENIZER}  intent_tokenization_flag: false
{FEATURIZER}  analyzer: char_wb
  min_ngram: 1
  max_ngram: 4
  strip_accents:
  stop_words:
  lowercase: true
  use_shared_vocab: false
  additional_vocabulary_size: {{text: 1000}}
  OOV_words: []
  use_lemma: true
  alias: characters
{CLASSIFIER}  max_iter: 100
  solver: lbfgs
  tol: 0.0001
  random_state: 42
  ranking_length: 10
""",
        *ITEMS,
    )
    assert not trained.faults
    assert len(trained.model.components) == 2


def test_without_examples_nothing_is_learned() -> None:
    trained = learned(TOKENIZER + FEATURIZER + CLASSIFIER + "- name: FallbackClassifier", item("synonym", "a", "b"))
    assert "config.yml:4: LogisticRegressionClassifier learns nothing: there are no NLU examples" in map(
        str, trained.warnings
    )
    assert len(trained.model.components) == 2


def test_without_scikit_learn_a_fault_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert faults(TOKENIZER + FEATURIZER + CLASSIFIER, *ITEMS) == [f"config.yml:4: {INSTALL}"]
