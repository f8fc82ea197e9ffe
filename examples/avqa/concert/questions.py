"""Which of the questions that a scene allows are asked.

Every template asks each of its answers at a rate of its own, independently of all else. The rates are fitted
once, on scenes of the same distribution, so that the nine types have their shares, yes and no are equally
frequent in every template, and other answers are evener than in the scenes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from examples.avqa.concert.order import Values
from examples.avqa.concert.sample import calibration_scenes
from examples.avqa.concert.scene import INSTRUMENTS, Scene
from examples.avqa.concert.settings import TYPE_SHARES, ConcertSettings
from examples.avqa.concert.wording import TEMPLATES, Template

CALIBRATION_SCENES = 2000
# Nothing is asked for certain, or the mere question would tell about the scene.
GREATEST_RATE = 0.9
# 1 keeps the answers as frequent as in the scenes, 0 makes them equally frequent.
NATURAL = 0.5

Rates = Mapping[tuple[str, str], float]
"""Probability of asking, by (template text, class of answers)."""


@dataclass(frozen=True)
class Question:
    """One question about one scene, with its answer."""

    template: Template
    values: Values
    answer: str

    @property
    def topic(self) -> str:
        """What it is about, such as `first instrument`."""
        return self.template.topic.format(*self.values)


def ask(scene: Scene, settings: ConcertSettings) -> list[Question]:
    """The questions about one scene, no two alike; they depend on the scene and the settings alone."""
    rates = asking_rates(settings)
    rng = np.random.default_rng([scene.seed, 1])
    questions = []
    for template in TEMPLATES:
        for answer, choices in sorted(_by_answer(template, scene).items()):
            asked, choice = rng.random(2)
            if asked < rates.get((template.text, _answer_class(answer)), 0.0):
                questions.append(Question(template, choices[int(choice * len(choices))], answer))
    return [questions[i] for i in rng.permutation(len(questions))]


@lru_cache(maxsize=8)
def asking_rates(settings: ConcertSettings) -> Rates:
    """Fits the rates. Takes about a second, once per settings."""
    available: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for scene in calibration_scenes(settings, CALIBRATION_SCENES):
        for template in TEMPLATES:
            available[template.text].update(map(_answer_class, _by_answer(template, scene)))
    rates = {}
    for kind, share in TYPE_SHARES.items():
        templates = [template for template in TEMPLATES if template.kind == kind]
        limits = [_limits(available[template.text]) for template in templates]
        wanted = share * settings.questions_per_concert
        totals = share_out(
            wanted, [template.weight for template in templates], [sum(limit.values()) for limit in limits]
        )
        for template, limit, total in zip(templates, limits, totals, strict=True):
            weights = [weight**NATURAL for weight in limit.values()]
            amounts = share_out(total, weights, list(limit.values()))
            for answer, amount in zip(limit, amounts, strict=True):
                rates[template.text, answer] = amount * CALIBRATION_SCENES / available[template.text][answer]
    return rates


def share_out(total: float, weights: Sequence[float], limits: Sequence[float]) -> list[float]:
    """Divides `total` by `weights`, no part above its limit; what one part cannot take goes to the others."""
    parts = [0.0] * len(weights)
    open_parts = [i for i, limit in enumerate(limits) if limit > 0]
    while open_parts:
        left = total - sum(parts[i] for i in range(len(parts)) if i not in open_parts)
        weight = sum(weights[i] for i in open_parts)
        full = [i for i in open_parts if left * weights[i] / weight >= limits[i]]
        for i in full or open_parts:
            parts[i] = limits[i] if full else left * weights[i] / weight
        open_parts = [i for i in open_parts if i not in full] if full else []
    return parts


def _by_answer(template: Template, scene: Scene) -> dict[str, list[Values]]:
    choices: defaultdict[str, list[Values]] = defaultdict(list)
    for values, answer in template.find(scene):
        choices[answer].append(values)
    return choices


def _answer_class(answer: str) -> str:
    """Instruments are all equally frequent, so that they share one rate."""
    return "instrument" if answer in INSTRUMENTS else answer


def _limits(available: Counter[str]) -> dict[str, float]:
    """How many questions a scene can have with each class of answers; yes and no equally many."""
    limits = {answer: GREATEST_RATE * count / CALIBRATION_SCENES for answer, count in sorted(available.items())}
    if limits.keys() == {"yes", "no"}:
        limits = dict.fromkeys(limits, min(limits.values()))
    return limits
