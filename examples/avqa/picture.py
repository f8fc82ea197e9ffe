"""The picture of an answer: the clip's frames and waveform over the experts' Gaussians, or the frames' weights.

T frames, K experts in use.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gaussian_moe import Routing

from .files import written_whole
from .model import Pooling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STRIP_SHAPE = 6.4
"""The strip of frames is that many times as wide as high: so many square frames fit."""


class Looked(NamedTuple):
    """One mixture's routing of one clip, batch size 1."""

    name: str
    """What it looked at, as the picture calls it."""
    routing: Routing
    pooling: Pooling = "gaussian"
    """By what it weighted the frames."""


def draw_answer(
    path: Path,
    frames: npt.NDArray[np.uint8],
    waveform: npt.NDArray[np.float32],
    question: str,
    answers: list[tuple[str, float]],
    looked: list[Looked],
    cut: str | None = None,
    seconds: int | None = None,
) -> None:
    """Saves the picture to `path`, whole or not at all.

    Args:
        path: the file; its suffix says the format.
        frames: [n, H, W, 3], RGB, of n equal parts of these seconds.
        waveform: [samples], the sound of these seconds.
        question: as it was asked.
        answers: the best answers with their probabilities, best first.
        looked: each mixture's routing.
        cut: which part of the clip this is, where it is not the whole.
        seconds: how many; by default as many as frames.
    """
    seconds = seconds or len(frames)
    figure = Figure(figsize=(11, 3.6 + 1.9 * len(looked)), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        2 + len(looked), 2, width_ratios=(5, 1.25), height_ratios=(1.5, 0.9, *[1.9] * len(looked))
    )
    strip = figure.add_subplot(grid[0, 0])
    _draw_frames(strip, frames, seconds)
    sound = figure.add_subplot(grid[1, 0], sharex=strip)
    _draw_waveform(sound, waveform, seconds)
    for row, mixture in enumerate(looked, start=2):
        axes = figure.add_subplot(grid[row, 0], sharex=strip)
        if mixture.pooling == "gaussian":
            _draw_gaussians(axes, mixture, seconds)
        else:
            _draw_weights(axes, mixture, seconds)
        _draw_gates(figure.add_subplot(grid[row, 1]), mixture)
    axes.set_xlabel(f"seconds ({cut})" if cut else "seconds")
    _draw_answers(figure.add_subplot(grid[:2, 1]), answers)
    figure.suptitle(question, fontsize=13, parse_math=False)
    with written_whole(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _draw_frames(axes: Axes, frames: npt.NDArray[np.uint8], seconds: int) -> None:
    height, width_of_one = frames.shape[1:3]
    shown = min(max(round(STRIP_SHAPE * height / width_of_one), 1), len(frames))
    width = seconds / shown
    for place in range(shown):
        picture = frames[min(int((place + 0.5) * len(frames) / shown), len(frames) - 1)]
        axes.imshow(picture, extent=(place * width, (place + 1) * width, 0, 1), aspect="auto")
    axes.set(xlim=(0, seconds), ylim=(0, 1), yticks=[])
    axes.tick_params(labelbottom=False)


def _draw_waveform(axes: Axes, waveform: npt.NDArray[np.float32], seconds: int) -> None:
    bins = np.array_split(waveform, min(600, len(waveform)))
    time = np.linspace(0, seconds, len(bins))
    low, high = [part.min() for part in bins], [part.max() for part in bins]
    axes.fill_between(time, low, high, color="0.35", linewidth=0)
    peak = max(float(max(high)), -float(min(low)), 1e-3)
    axes.set(ylim=(-1.05 * peak, 1.05 * peak), yticks=[], ylabel="sound")
    axes.tick_params(labelbottom=False)


def _draw_gaussians(axes: Axes, mixture: Looked, seconds: int) -> None:
    routing = mixture.routing
    time = np.linspace(0, 1, 400)
    colours = mpl.colormaps["tab10"]
    for expert, gate, center, std in _experts(mixture):
        # Drawn as strong as its gate says; its height shows the weight that a frame gets.
        curve = gate * np.exp(-0.5 * ((time - center) / std) ** 2)
        colour = colours(expert % 10)
        axes.fill_between(time * seconds, curve, alpha=0.25, color=colour, linewidth=0)
        axes.plot(time * seconds, curve, color=colour, linewidth=1.5)
    if routing.weights is not None:
        mixed = (routing.gates[0, :, None] * routing.weights[0]).sum(0).numpy()
        # Frame i of T is taken in the middle of its second, and stands at i/(T - 1) on the clip's own axis.
        axes.plot(
            np.linspace(0, seconds, len(mixed)),
            mixed,
            "k.",
            markersize=4,
            label="all experts, at each frame that is read",
        )
        axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=8, frameon=False, borderpad=0)
    axes.set(xlim=(0, seconds), ylabel=f"{mixture.name}: gate × weight")
    axes.set_ylim(bottom=0)


def _draw_weights(axes: Axes, mixture: Looked, seconds: int) -> None:
    """What uniform pooling and the top frames weigh: their routing's centers and stds have no part in it."""
    assert mixture.routing.weights is not None
    mixed = (mixture.routing.gates[0, :, None] * mixture.routing.weights[0]).sum(0).numpy()
    width = seconds / len(mixed)
    label = f"weight of a frame ({mixture.pooling} pooling, no Gaussians)"
    axes.bar((np.arange(len(mixed)) + 0.5) * width, mixed, 0.9 * width, color="0.6", label=label)
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.99), fontsize=8, frameon=False, borderpad=0)
    axes.set(xlim=(0, seconds), ylabel=f"{mixture.name}: gate × weight")
    axes.set_ylim(bottom=0)


def _draw_gates(axes: Axes, mixture: Looked) -> None:
    experts = sorted(_experts(mixture))
    colours = [mpl.colormaps["tab10"](expert % 10) for expert, *_ in experts]
    axes.barh([f"expert {expert + 1}" for expert, *_ in experts], [gate for _, gate, *_ in experts], color=colours)
    axes.invert_yaxis()
    axes.set(xlabel="gate", xlim=(0, None))
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_answers(axes: Axes, answers: list[tuple[str, float]]) -> None:
    names = [name for name, _ in answers]
    bars = axes.barh(names, [probability for _, probability in answers], color=["0.25", *["0.7"] * (len(names) - 1)])
    axes.bar_label(bars, fmt="%.2f", fontsize=8, padding=2)
    axes.invert_yaxis()
    # An answer is text, whatever formula it looks like.
    for name in axes.get_yticklabels():
        name.set_parse_math(False)
    axes.set(xlim=(0, 1.25), xticks=[], title="answer")
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def _experts(mixture: Looked) -> list[tuple[int, float, float, float]]:
    """Number, gate, center and std of each expert in use."""
    routing = mixture.routing
    values = (routing.indices[0], routing.gates[0], routing.centers[0], routing.stds[0])
    return [(int(e), float(p), float(c), float(s)) for e, p, c, s in zip(*values, strict=True)]
