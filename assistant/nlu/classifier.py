"""LogisticRegressionClassifier: which intent a message most likely has, by the n-grams that it shares with examples.

What was learned is plain arrays, and numpy suffices to use them. It is imported with the first model that has them.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from assistant.nlu.ngrams import Ngrams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

Json = dict[str, Any]

FLOAT: Final = "<f4"  #: of all arrays
_FLOAT_BYTES: Final = 4
NEEDS: Final = (
    "LogisticRegressionClassifier needs the extra `classifier` of Turnlog, which is not installed; install it, for "
    "example by `pip install -r requirements-classifier.lock`"
)


class CountVectors(Struct, frozen=True, dict=True):
    """What a CountVectorsFeaturizer has learned: the n-grams of the examples, and how much each of them says.

    Attributes:
        vocabulary: the n-grams that are known.
        weights: of each of them, the rarer the more (inverse document frequency).
    """

    ngrams: Ngrams
    vocabulary: tuple[str, ...]
    weights: bytes

    def __post_init__(self) -> None:
        _check("weights", self.weights, len(self.vocabulary))

    def found_in(self, words: Sequence[str]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The places of a text's n-grams in the vocabulary, and their weights, which together have the length 1."""
        import numpy

        places = self._places
        counts = Counter(places[ngram] for ngram in self.ngrams.of(words) if ngram in places)
        found = numpy.fromiter(counts.keys(), dtype=numpy.intp, count=len(counts))
        values = numpy.fromiter(counts.values(), dtype=numpy.float64, count=len(counts)) * self._weights[found]
        return found, values / (numpy.sqrt(values @ values) or 1.0)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {ngram: place for place, ngram in enumerate(self.vocabulary)}

    @cached_property
    def _weights(self) -> NDArray[Any]:
        return _array(self.weights)


class LogisticRegression(Struct, frozen=True, dict=True, tag="LogisticRegressionClassifier"):
    """LogisticRegressionClassifier: ranks the intents of a message.

    Attributes:
        coefficients: one for each n-gram of all features, one after the other, and each intent.
        intercepts: one for each intent.
        ranking_length: how many intents the ranking has; 0: all.
    """

    intents: tuple[str, ...]
    features: tuple[CountVectors, ...]
    coefficients: bytes
    intercepts: bytes
    ranking_length: int = 10

    def __post_init__(self) -> None:
        if not self.intents:
            raise ValueError("intents must be at least one")
        ngrams = sum(len(vectors.vocabulary) for vectors in self.features)
        _check("coefficients", self.coefficients, ngrams * len(self.intents))
        _check("intercepts", self.intercepts, len(self.intents))

    def add_to(self, parsed: Json) -> Json:
        """The message with its intent and a ranking of intents, in place of what was found before.

        A message without any known n-gram stays as it is, with an empty ranking.
        """
        probabilities = self.probabilities(words_in(parsed))
        if probabilities is None:
            return {**parsed, "intent_ranking": []}
        places = sorted(range(len(self.intents)), key=probabilities.__getitem__, reverse=True)
        ranking = [{"name": self.intents[place], "confidence": probabilities[place]} for place in places]
        return {**parsed, "intent": ranking[0], "intent_ranking": ranking[: self.ranking_length or None]}

    def probabilities(self, words: Sequence[str]) -> list[float] | None:
        """How likely each intent is, in the order of the intents; None where no n-gram is known."""
        import numpy

        scores, known, offset = self._intercepts, 0, 0
        for vectors in self.features:
            found, values = vectors.found_in(words)
            scores = scores + values @ self._coefficients[found + offset]
            offset += len(vectors.vocabulary)
            known += len(found)
        if not known:
            return None
        likely = numpy.exp(scores - scores.max())
        probabilities: list[float] = (likely / likely.sum()).tolist()
        return probabilities

    @cached_property
    def _coefficients(self) -> NDArray[Any]:
        return _array(self.coefficients).reshape(-1, len(self.intents))

    @cached_property
    def _intercepts(self) -> NDArray[Any]:
        return _array(self.intercepts)


def words_in(parsed: Json) -> list[str]:
    """The words of a message that a tokenizer has seen."""
    return [parsed["text"][start:end] for start, end in parsed["text_tokens"]]


def _array(data: bytes) -> NDArray[Any]:
    import numpy

    return numpy.frombuffer(data, dtype=FLOAT)


def _check(name: str, data: bytes, length: int) -> None:
    """ValueError if an array has another length, or holds what is no finite number, or can't be read at all."""
    if len(data) != length * _FLOAT_BYTES:
        raise ValueError(f"{name} must be {length} numbers of {_FLOAT_BYTES} bytes, not {len(data)} bytes")
    try:
        import numpy
    except ModuleNotFoundError as error:
        raise ValueError(NEEDS) from error
    if not numpy.isfinite(_array(data)).all():
        raise ValueError(f"{name} must be finite numbers")
