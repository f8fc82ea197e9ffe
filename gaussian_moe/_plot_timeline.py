"""The picture of one clip: the experts' windows over time, above their spans.

B batch (or B, Q: clips and their questions), T frames, K experts in use, M Gaussians of one expert.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ._plot_style import STYLE, TRUTH, look
from .grounding import expert_spans
from .routing import Routing
from .timeline import frame_times, padding_from_lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_timeline(
    routing: Routing,
    index: int | tuple[int, ...] = 0,
    *,
    key_padding_mask: Tensor | None = None,  # [B, T] bool
    lengths: Tensor | None = None,  # [B] int
    times: Tensor | None = None,  # [B, T] or [T]
    duration: Tensor | float | None = None,  # [B] or one number
    start: Tensor | float | None = None,  # [B] or one number
    truth: tuple[float, float] | Sequence[tuple[float, float]] | None = None,
    num_stds: float = 1.0,
    max_experts: int = 8,
    unit: str = "s",
    title: str | None = None,
) -> Figure:
    """The experts' windows over one clip, above their spans, each as opaque as its gate is large.

    The black line is what all experts make of it together, `sum_k p_k g_kt`; windows and line go through the frames'
    weights. A routing without weights is drawn with Gaussians of its centers and stds.

    Args:
        routing: what a layer returned.
        index: which clip, or (clip, question).
        key_padding_mask: [B, T] bool, as the layer was given it.
        lengths: [B] integers, as the layer was given them.
        times: [B, T] or [T], as the layer was given them.
        duration: [B] or a number, length of each clip, in the unit of `times` if there are any. Without it time is a
            fraction of the clip.
        start: [B] or a number, when each clip starts, in the unit of `duration`.
        truth: when the answer is to be seen, (start, end) or several of them, as the time axis counts.
        num_stds: how far a span reaches.
        max_experts: only those with the largest gates are shown.
        unit: of `duration`.
        title: of the figure.

    Returns:
        A matplotlib figure, 7 inches wide.

    Raises:
        ValueError: an index of another number of dimensions than questions have, or as `expert_spans`.

    Examples:
        >>> import torch
        >>> from gaussian_moe import TemporalMoE
        >>> from gaussian_moe.plot import plot_timeline
        >>> moe = TemporalMoE(dim=16, num_experts=7, top_k=3, heads=4)
        >>> _, routing = moe(torch.randn(2, 16), torch.randn(2, 60, 16), return_routing=True)
        >>> figure = plot_timeline(routing, 1, duration=60.0, truth=(12.0, 20.5), title="Who plays first?")
        >>> len(figure.axes)
        2
    """
    if max_experts < 1:
        raise ValueError(f"max_experts must be at least 1, got {max_experts}")
    clip = _clip(routing, index, key_padding_mask, lengths, times, duration, start, num_stds)
    shown = sorted(clip.experts, key=lambda expert: -expert.gate)[:max_experts]
    truths = [] if truth is None else torch.as_tensor(truth, dtype=torch.float64).reshape(-1, 2).tolist()
    with mpl.rc_context(STYLE):
        rows = len(shown) + bool(truths)
        figure = Figure(figsize=(7, 2.5 + 0.21 * rows), layout="constrained")
        windows, bars = figure.subplots(2, 1, sharex=True, height_ratios=(1.7, 0.21 * rows + 0.1))
        for begin, end in truths:
            windows.axvspan(begin, end, color=TRUTH, alpha=0.45, linewidth=0)
        _draw_windows(windows, clip, shown)
        _draw_spans(bars, shown, truths)
        bars.set_xlim(*clip.limits)
        bars.set_xlabel("time (fraction of the clip)" if duration is None else f"time ({unit})")
        if title is not None:
            figure.suptitle(title, fontsize=10, parse_math=False)
    return figure


class _Expert(NamedTuple):
    number: int
    gate: float
    window: list[float]
    spans: list[tuple[float, float, float]]
    """Start, end and confidence of each of its Gaussians."""


class _Clip(NamedTuple):
    experts: list[_Expert]
    place: list[float]
    """Where the windows are drawn, on the time axis."""
    limits: tuple[float, float]
    has_frames: bool
    """Whether the windows are weights of frames."""


def _clip(
    routing: Routing,
    index: int | tuple[int, ...],
    key_padding_mask: Tensor | None,
    lengths: Tensor | None,
    times: Tensor | None,
    duration: Tensor | float | None,
    start: Tensor | float | None,
    num_stds: float,
) -> _Clip:
    """What is drawn of one question about one clip, as plain numbers."""
    index = (index,) if isinstance(index, int) else index
    leading = routing.gates.shape[:-1]
    if len(index) != len(leading):
        raise ValueError(f"index must have {len(leading)} numbers for questions of shape {list(leading)}, got {index}")
    spans = expert_spans(routing, num_stds, duration=duration, start=start)
    routing = Routing._make(None if field is None else field.detach() for field in routing)
    one = Routing._make(None if field is None else field[index].double().cpu() for field in routing)
    if routing.weights is None:
        place = torch.linspace(0, 1, 401, dtype=torch.float64)
        windows = _gaussians(one, place)
    else:
        by_frame = routing.weights.movedim(-1, 1)
        padding = padding_from_lengths(by_frame, key_padding_mask, lengths)
        place = frame_times(by_frame, padding, times, None if times is None else duration)
        assert one.weights is not None
        place, windows = place.expand(len(by_frame), -1)[index[0]].double().cpu(), one.weights
        if padding is not None:
            valid = ~padding[index[0]].cpu()
            place, windows = place[valid], windows[:, valid]
    length, offset = (
        default if value is None else float(torch.as_tensor(value).double().expand(leading[0])[index[0]])
        for value, default in ((duration, 1.0), (start, 0.0))
    )
    several = [field[index].detach().double().cpu().reshape(one.gates.numel(), -1) for field in spans]
    experts = [
        _Expert(int(number), float(gate), window.tolist(), list(zip(*(x.tolist() for x in ends), strict=True)))
        for number, gate, window, *ends in zip(one.indices, one.gates, windows, *several, strict=True)
    ]
    return _Clip(experts, (offset + length * place).tolist(), (offset, offset + length), routing.weights is not None)


def _gaussians(one: Routing, place: Tensor) -> Tensor:
    """[K, points], the windows between frames, where only centers and stds are known."""
    shape = (one.gates.numel(), -1, 1)
    each = (-((place - one.centers.reshape(shape)) ** 2) / (2 * one.stds.reshape(shape) ** 2)).exp()
    shares = torch.ones(shape[0], 1) if one.shares is None else one.shares
    return (shares.unsqueeze(-1) * each).sum(1)


def _draw_windows(axes: Axes, clip: _Clip, shown: list[_Expert]) -> None:
    strongest = max((expert.gate for expert in shown), default=1.0)
    # The strongest last: it would be hidden under the others.
    for expert in reversed(shown):
        color, line, opacity = *look(expert.number), expert.gate / max(strongest, 1e-12)
        axes.fill_between(clip.place, expert.window, color=color, alpha=0.05 + 0.4 * opacity, linewidth=0)
        axes.plot(clip.place, expert.window, color=color, alpha=0.25 + 0.75 * opacity, linestyle=line)
    mixed = [sum(e.gate * e.window[place] for e in clip.experts) for place in range(len(clip.place))]
    marker = "." if clip.has_frames and len(mixed) <= 100 else ""
    axes.plot(clip.place, mixed, color="black", marker=marker, markersize=4, label="all experts, by gate")
    axes.set_ylabel("weight of a frame" if clip.has_frames else "weight")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0, fontsize=8)
    if not clip.place:
        axes.text(0.5, 0.5, "no frames", transform=axes.transAxes, ha="center", color="0.4")


def _draw_spans(axes: Axes, shown: list[_Expert], truths: list[Any]) -> None:
    strongest = max((expert.gate for expert in shown), default=1.0)
    # Beside the truth, which has no gate, or above the first expert.
    axes.text(1.01, len(truths[:1]) - 1, "gate", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    names = []
    for begin, end in truths:
        axes.barh(0, end - begin, left=begin, height=0.65, color=TRUTH)
    if truths:
        names.append("truth")
    for row, expert in enumerate(shown, start=len(names)):
        color, _ = look(expert.number)
        for begin, end, confidence in expert.spans:
            opacity = 0.25 + 0.75 * confidence / max(strongest, 1e-12)
            axes.barh(row, end - begin, left=begin, height=0.65, color=color, alpha=min(opacity, 1.0))
        axes.text(1.01, row, f"{expert.gate:.2f}", transform=axes.get_yaxis_transform(), va="center", fontsize=8)
    names += [f"expert {expert.number}" for expert in shown]
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
