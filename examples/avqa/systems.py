"""The systems that `compare` sets side by side: QA-TIGER, the paper's ablations, TSPM, the question alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .config import DataConfig, ModelConfig
from .errors import UserError
from .prepare import QUESTIONS


@dataclass(frozen=True)
class System:
    """How a system differs from the configured QA-TIGER."""

    folder: str
    """What its runs' folders are called, before the seed."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig`."""
    features: bool = True
    """Whether it sees and hears the clip."""

    def configure(self, data: DataConfig, model: ModelConfig) -> tuple[DataConfig, ModelConfig]:
        """The configs of this system's runs."""
        model = replace(model, **self.model)
        if model.architecture != "tspm" and model.pooling != "top_frames":
            # It is not read: another number makes no other run.
            model = replace(model, top_frames=ModelConfig.top_frames)
        if self.features:
            return data, model
        # Constant features have one channel: there is nothing to whiten or to average.
        kept = {kind: count for kind, count in model.whiten.items() if kind in ("question", "words")}
        cache = data.questions_cache
        if cache is None and data.features is not None:
            # Where the other systems keep their questions.
            cache = data.features / QUESTIONS
        blind = replace(data, features=None, questions_cache=cache)
        return blind, replace(model, whiten=kept, seconds_per_frame=1)


SYSTEMS: Mapping[str, System] = {
    "QA-TIGER": System("gaussian"),
    "uniform pooling": System("uniform", {"pooling": "uniform"}),
    "top-K frames": System("top_frames", {"pooling": "top_frames"}),
    "no question-aware fusion": System("no_fusion", {"question_fusion": False}),
    "TSPM": System("tspm", {"architecture": "tspm"}),
    "question only": System("question_only", features=False),
}
"""By the name that the table shows."""

_EXPERTS = re.compile(r"E=(\d+)")


def system(name: str) -> System:
    """The system of this name; `E=5` is QA-TIGER with five experts, all in use.

    Raises:
        UserError: there is no such system.
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    if match := _EXPERTS.fullmatch(name):
        count = int(match[1])
        return System(f"experts_{count}", {"num_experts": count, "top_k": count})
    raise UserError(f"systems: unknown system {name!r}; known are {', '.join(SYSTEMS)}, and E=1, E=2 ...")
