"""What a span is worth that looks at no clip: the one that fits the other questions of its kind."""

from __future__ import annotations

import torch

from gaussian_moe import temporal_iou

from .training import Questions


def constant_overlap(known: Questions, asked: Questions) -> float:
    """Mean temporal IoU on `asked` of, for each kind, the span of whole seconds that fits `known` best; in [0, 1]."""
    seconds = torch.arange(0.0, float(known.spans.max()) + 1)
    start, end = torch.combinations(seconds).unbind(-1)
    found = []
    for kind in set(asked.kinds.tolist()):
        fits, counts = (
            temporal_iou((start, end), (truth[:, :1], truth[:, 1:]))
            for truth in (questions.spans[questions.kinds == kind] for questions in (known, asked))
        )
        found.append(counts[:, fits.mean(0).argmax()])
    return torch.cat(found).mean().item()
