"""What needs no video: the most frequent training answer of like questions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from examples.avqa.annotations import Question

Key = Literal["text", "template", "type", "all"]
"""What makes two questions alike, from the narrowest to the widest."""

_KEYS: tuple[Key, ...] = get_args(Key)
_KEY_OF: Mapping[Key, Callable[[Question], Hashable]] = {
    "text": lambda question: question.text,
    "template": lambda question: question.template,
    "type": lambda question: question.short_type,
    "all": lambda question: "",
}


@dataclass(frozen=True)
class MostFrequentAnswer:
    """Answers with the most frequent training answer among the questions of the same text, template or type.

    A question whose text was never trained on is answered by its template, then by its type, then by all
    questions. Of equally frequent answers the one that occurs first in the training questions is given.
    """

    answers: Mapping[Key, Mapping[Hashable, str]]
    """For each key in use, narrowest first: the answer of each group of training questions."""

    @classmethod
    def fit(cls, train_questions: Sequence[Question], key: Key = "text") -> MostFrequentAnswer:
        """Counts the training answers, grouped by `key` and by every wider key.

        Raises:
            ValueError: no questions, or an unknown key.
        """
        if key not in _KEYS:
            raise ValueError(f"key is {key!r}; it must be one of {', '.join(_KEYS)}")
        if not train_questions:
            raise ValueError("train_questions is empty; the baseline wants at least one question")
        return cls({wider: _most_frequent(train_questions, wider) for wider in _KEYS[_KEYS.index(key) :]})

    def predict(self, questions: Iterable[Question]) -> list[str]:
        """One answer a question, in their order."""
        return [self._answer(question) for question in questions]

    def _answer(self, question: Question) -> str:
        known = (answers.get(_KEY_OF[key](question)) for key, answers in self.answers.items())
        return next(answer for answer in known if answer is not None)


def _most_frequent(questions: Sequence[Question], key: Key) -> dict[Hashable, str]:
    counts: defaultdict[Hashable, Counter[str]] = defaultdict(Counter)
    for question in questions:
        counts[_KEY_OF[key](question)][question.answer] += 1
    # Of equal counts, most_common gives the one met first.
    return {group: counter.most_common(1)[0][0] for group, counter in counts.items()}
