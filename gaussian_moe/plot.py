"""Pictures of a routing: the experts' windows over one clip, and their load and entropy over training.

Wants matplotlib, the extra `plot`. Figures are made without pyplot: nothing is global, no display is needed, and a
figure is gone with its last reference. Save one by `figure.savefig("timeline.pdf")`. Experts are numbered as in
`Routing.indices`.
"""

from __future__ import annotations

try:
    from ._plot_history import plot_history
    from ._plot_timeline import plot_timeline
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("matplotlib", "numpy"):
        raise
    raise ImportError('gaussian_moe.plot needs matplotlib; pip install "gaussian-moe[plot]"') from error

__all__ = ["plot_history", "plot_timeline"]
