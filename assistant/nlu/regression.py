"""How a LogisticRegressionClassifier learns. scikit-learn does it, and is imported with the first training."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from assistant.nlu.classifier import FLOAT, NEEDS, CountVectors, LogisticRegression, words_in
from assistant.nlu.components import Whitespace
from assistant.nlu.ngrams import Ngrams
from dialogue.shapes import FLAG, Shape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from assistant.nlu.training_data import Example

Settings = dict[str, Any]

# Inverse of how strongly large coefficients are held down. With less, confidences are so low, even of what is right,
# that few of them reach the usual threshold of a FallbackClassifier; with more, those of what is wrong reach it too.
_FREEDOM: Final = 20.0

_SOLVERS: Final = ("lbfgs", "newton-cg", "sag", "saga")
UNUSED_SOLVER: Final = "liblinear"  #: Rasa has it; scikit-learn no longer has it for more than two intents


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _share(value: Any) -> bool:
    return isinstance(value, float) and 0.0 <= value <= 1.0


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")


def _are_words(value: Any) -> bool:
    return value == "english" or (isinstance(value, list) and all(isinstance(word, str) for word in value))


def _one_of(*values: str) -> Shape:
    return Shape(f"one of {', '.join(values)}", lambda value: value in values)


_COUNT: Final = Shape("a whole number of at least 1", lambda value: _whole(value, 1))
_FREQUENCY: Final = Shape("a number of examples or a share of them", lambda value: _whole(value, 1) or _share(value))

FEATURIZER_SETTINGS: Final = {
    "analyzer": _one_of("word", "char", "char_wb"),
    "min_ngram": _COUNT,
    "max_ngram": _COUNT,
    "lowercase": FLAG,
    "strip_accents": _one_of("ascii", "unicode"),
    "stop_words": Shape("'english' or a list of words", _are_words),
    "min_df": _FREQUENCY,
    "max_df": _FREQUENCY,
    "max_features": _COUNT,
}
CLASSIFIER_SETTINGS: Final = {
    "solver": _one_of(*_SOLVERS, UNUSED_SOLVER),
    "max_iter": _COUNT,
    "tol": Shape("a number above 0", _positive),
    "random_state": Shape("a whole number", lambda value: _whole(value, 0)),
    "ranking_length": Shape("a whole number, 0 for all", lambda value: _whole(value, 0)),
}


class CannotLearn(Exception):
    """Nothing can be learned from the examples with these settings; the message says why."""


class Classifying(Struct, frozen=True):
    """A classifier, and whether the solver came to its end within its iterations."""

    classifier: LogisticRegression
    converged: bool


class _Fitted(Struct, frozen=True):
    """Intents, arrays of coefficients (n-grams by intents) and intercepts, and whether these are the best ones."""

    intents: tuple[str, ...]
    coefficients: Any
    intercepts: Any
    converged: bool


def learn(examples: Sequence[Example], featurizers: Sequence[Settings], settings: Settings) -> Classifying:
    """Return what a LogisticRegressionClassifier behind these featurizers learns. The same examples teach the same.

    Raises:
        CannotLearn: scikit-learn is not installed, or a featurizer's settings leave no n-gram.
    """
    if find_spec("sklearn") is None:
        raise CannotLearn(NEEDS)
    from scipy.sparse import hstack

    texts = [words_in(Whitespace().add_to({"text": example.text.text})) for example in examples]
    counted = [_count(texts, featurizer) for featurizer in featurizers]
    matrix = hstack([rows for _, rows in counted], format="csr")
    fitted = _fit(matrix, [example.base_intent for example in examples], settings)
    classifier = LogisticRegression(
        fitted.intents,
        tuple(vectors for vectors, _ in counted),
        fitted.coefficients.astype(FLOAT).tobytes(),
        fitted.intercepts.astype(FLOAT).tobytes(),
        settings.get("ranking_length", 10),
    )
    return Classifying(classifier, fitted.converged)


def _count(texts: Sequence[Sequence[str]], settings: Settings) -> tuple[CountVectors, Any]:
    """What a featurizer learns, and the examples as it sees them: a sparse row of weights for each."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    ngrams = _ngrams(settings)
    vectorizer = TfidfVectorizer(
        analyzer=ngrams.of,
        min_df=settings.get("min_df", 1),
        max_df=settings.get("max_df", 1.0),
        max_features=settings.get("max_features"),
    )
    try:
        rows = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise CannotLearn(f"a CountVectorsFeaturizer finds nothing in the examples: {error}") from error
    return CountVectors(
        ngrams, tuple(vectorizer.get_feature_names_out()), vectorizer.idf_.astype(FLOAT).tobytes()
    ), rows


def _ngrams(settings: Settings) -> Ngrams:
    shortest, longest = settings.get("min_ngram", 1), settings.get("max_ngram", 1)
    if shortest > longest:
        raise CannotLearn(f"a CountVectorsFeaturizer has min_ngram {shortest}, which is more than max_ngram {longest}")
    return Ngrams(
        settings.get("analyzer", "word"),
        shortest,
        longest,
        settings.get("lowercase", True),
        settings.get("strip_accents"),
        _stop_words(settings.get("stop_words", [])),
    )


def _stop_words(given: list[str] | str) -> tuple[str, ...]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return tuple(sorted(ENGLISH_STOP_WORDS)) if given == "english" else tuple(given)


def _fit(matrix: Any, intents: Sequence[str], settings: Settings) -> _Fitted:
    """What the matrix, a row for each example, says of the examples' intents."""
    if len(set(intents)) == 1:
        return _certain(intents[0], matrix.shape[1])
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression as Regression
    from threadpoolctl import threadpool_limits

    solver = settings.get("solver", "lbfgs")
    regression = Regression(
        C=_FREEDOM,
        class_weight="balanced",
        solver="lbfgs" if solver == UNUSED_SOLVER else solver,
        max_iter=settings.get("max_iter", 100),
        tol=settings.get("tol", 0.0001),
        random_state=settings.get("random_state", 42),
    )
    # These matrices are so small that several threads only get in each other's way; and one adds up in one order.
    with threadpool_limits(1), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        regression.fit(matrix, intents)
    converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
    return _of_each_intent(regression, converged)


def _certain(intent: str, ngrams: int) -> _Fitted:
    """Of a single intent there is nothing to learn."""
    import numpy

    return _Fitted((intent,), numpy.zeros((ngrams, 1)), numpy.zeros(1), converged=True)


def _of_each_intent(regression: Any, converged: bool) -> _Fitted:
    """For two intents scikit-learn has only the second one's coefficients; the first one's are 0 then."""
    import numpy

    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(coefficients) == 1:
        coefficients = numpy.vstack([numpy.zeros_like(coefficients), coefficients])
        intercepts = numpy.concatenate([numpy.zeros(1), intercepts])
    return _Fitted(tuple(map(str, regression.classes_)), coefficients.T, intercepts, converged)
