"""The picture of a training: load of the experts and entropy of the router, step by step.

E experts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure

from ._plot_style import COLORS, STYLE, look
from .statistics import RoutingStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_history(
    history: Sequence[RoutingStatistics],
    *,
    share: str = "load",
    steps: Sequence[float] | None = None,
    max_columns: int = 200,
    title: str | None = None,
) -> Figure:
    """Load of the experts over training, or their importance, above the entropy of the router.

    Up to eight experts are stacked areas, more are the rows of a heat map. The dotted line is the entropy of a router
    that does not choose, ln E.

    Args:
        history: `routing_statistics` of some steps, in order.
        share: "load", or "importance", the mean gates, which also tell experts apart where all are always in use.
        steps: their numbers, ascending; by default 0, 1, ...
        max_columns: longer histories are averaged over neighbouring steps, weighted by their questions.
        title: of the figure.

    Returns:
        A matplotlib figure, 7 inches wide.

    Raises:
        ValueError: an empty history, another share, or another number of steps.

    Examples:
        >>> import torch
        >>> from gaussian_moe import QuestionRouter, routing_statistics
        >>> from gaussian_moe.plot import plot_history
        >>> router = QuestionRouter(dim=16, num_experts=7, top_k=3, heads=4)
        >>> history = [routing_statistics(router(torch.randn(2, 16), torch.randn(2, 9, 16))) for _ in range(20)]
        >>> len(plot_history(history, steps=range(0, 200, 10)).axes)
        2
    """
    if not history:
        raise ValueError("history is empty; append routing_statistics(routing) to it at some steps")
    if share not in ("load", "importance"):
        raise ValueError(f'share must be "load" or "importance", got {share!r}')
    if steps is not None and len(steps) != len(history):
        raise ValueError(f"steps must be as many as the history, {len(history)}, got {len(steps)}")
    if max_columns < 1:
        raise ValueError(f"max_columns must be at least 1, got {max_columns}")
    at = np.arange(len(history)) if steps is None else np.asarray(steps)
    # One transfer for each statistic, however long the history is.
    shares, entropy, gate_entropy, questions = (
        torch.stack([getattr(statistics, name).double() for statistics in history]).cpu().numpy()
        for name in (share, "entropy", "gate_entropy", "questions")
    )
    parts = np.array_split(np.arange(len(history)), min(max_columns, len(history)))
    # A step without questions has no say, unless its whole column has none.
    counts = [questions[part] if questions[part].any() else np.ones(len(part)) for part in parts]
    columns = list(zip(parts, counts, strict=True))
    shares, entropy, gate_entropy = (
        np.stack([np.average(values[part], axis=0, weights=count) for part, count in columns])
        for values in (shares, entropy, gate_entropy)
    )
    at = np.asarray([at[part].mean() for part in parts])
    num_experts = shares.shape[1]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7, 4.4), layout="constrained")
        upper, entropies = figure.subplots(2, 1, sharex=True, height_ratios=(1.6, 1))
        _draw_shares(upper, shares, share, _edges(at))
        marker = "o" if len(at) < 30 else ""
        entropies.plot(at, entropy, color=COLORS[0], marker=marker, markersize=3, label="all experts")
        entropies.plot(at, gate_entropy, "--", color=COLORS[5], marker=marker, markersize=3, label="gates in use")
        uniform = math.log(num_experts)
        entropies.axhline(uniform, color="0.4", linestyle=":", linewidth=1, label=f"no choice, ln {num_experts}")
        entropies.set(xlabel="training step", ylabel="entropy (nats)")
        entropies.set_ylim(0, 1.08 * max(uniform, float(entropy.max()), 0.1))
        entropies.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, ncols=3, fontsize=8)
        if title is not None:
            figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


def _draw_shares(axes: Axes, shares: Any, name: str, edges: Any) -> None:
    """The experts' shares [steps, E] between the edges of the steps."""
    num_experts = shares.shape[1]
    if num_experts > len(COLORS):
        mesh = axes.pcolormesh(
            edges, np.arange(num_experts + 1) - 0.5, shares.T, cmap="cividis", vmin=0, rasterized=True
        )
        assert axes.figure is not None
        axes.figure.colorbar(mesh, ax=axes, label=name, pad=0.01)
        axes.set(ylabel="expert", xlim=(edges[0], edges[-1]))
        axes.invert_yaxis()
        return
    top = np.cumsum(shares, axis=1)
    for expert in range(num_experts):
        color, _ = look(expert)
        below = top[:, expert] - shares[:, expert]
        axes.stairs(top[:, expert], edges, baseline=below, fill=True, color=color, label=f"expert {expert}")
    axes.set(ylabel=name, xlim=(edges[0], edges[-1]), ylim=(0, 1))
    # From top to bottom as the areas are stacked.
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), reverse=True, fontsize=8)


def _edges(at: Any) -> Any:
    """Borders between steps, halfway; a step alone is 1 wide."""
    if len(at) == 1:
        return np.asarray([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2
    return np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
