"""Lines of time and memory against one size, every implementation in each.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .cases import CENTER, GROWTH_E, GROWTH_K, GROWTH_T, Case, varied
from .chart_style import PASS_TITLES, look, new_figure, source
from .results import Results, sizes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MEANING = {
    "B": "B, clips",
    "T": "T, frames",
    "D": "D, channels",
    "E": "E, experts",
    "K": "K, experts in use",
    "dtype": "dtype",
}


def axis(letter: str, results: Results) -> Figure | None:
    """Time of all implementations as one size varies."""
    recorded = results.cases("axes")
    if not recorded:
        return None
    cases = varied(recorded, letter)
    if not cases:
        return None
    figure = new_figure(8.4, 3.6)
    for place, (which, title) in enumerate(PASS_TITLES.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        _time_lines(axes, results, "axes", cases, letter, which)
        axes.set_title(title)
        axes.set_ylabel("ms")
    around = sizes(replace(CENTER, dtype=recorded[0].dtype))
    _finish(figure, f"Time against {letter}, around B, T, D, E, K = {around}", "axes", results)
    return figure


def growth(results: Results) -> Figure | None:
    """Time and memory as clips get longer and experts more."""
    recorded = results.cases("growth")
    if not recorded:
        return None
    figure = new_figure(11.4, 6.4)
    for place, (letter, cases) in enumerate((("T", GROWTH_T), ("E", GROWTH_E)), 1):
        axes = figure.add_subplot(2, 3, place)
        _time_lines(axes, results, "growth", [case for case in cases if case in recorded], letter, "forward")
        axes.set_title(f"forward against {letter}, B = {cases[0].B}")
        axes.set_ylabel("ms")
    for place, (letter, cases) in enumerate((("T", GROWTH_T), ("E", GROWTH_E), ("K", GROWTH_K)), 4):
        axes = figure.add_subplot(2, 3, place)
        found = [case for case in cases if case in recorded]
        for name in results.implementations("growth", found):
            rows = [(case, results.row("growth", case, name)) for case in found]
            points = [(getattr(case, letter), row.memory / 2**20) for case, row in rows if row and row.memory]
            if points:
                axes.plot(*zip(*points, strict=True), **look(name))
        _logarithmic(axes, found, letter)
        if letter != "T":
            # Hardly anything changes: a scale that fits what little does would make it look like much.
            axes.set_yscale("linear")
            axes.set_ylim(bottom=0)
        axes.set_title(f"peak memory against {letter}, B = {cases[0].B}")
        axes.set_ylabel("MiB, forward and backward")
    _finish(figure, "Longer clips and more experts, around T, D, E, K = 2048, 512, 8, 2", "growth", results)
    return figure


def _time_lines(axes: Axes, results: Results, suite: str, cases: Sequence[Case], letter: str, which: str) -> None:
    """The median of each implementation, and a band from the 20th to the 80th percentile."""
    for name in results.implementations(suite, cases):
        times = [
            (at, results.time(suite, case, name, which)) for at, case in zip(_places(cases, letter), cases, strict=True)
        ]
        points = [(size, time) for size, time in times if time is not None]
        if points:
            at = [size for size, _ in points]
            axes.plot(at, [1e3 * time.median for _, time in points], **look(name))
            low, high = ([1e3 * getattr(time, end) for _, time in points] for end in ("low", "high"))
            axes.fill_between(at, low, high, color=look(name)["color"], alpha=0.15, linewidth=0)
    _logarithmic(axes, cases, letter)


def _logarithmic(axes: Axes, cases: Sequence[Case], letter: str) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator

    if letter != "dtype":
        axes.set_xscale("log")
    axes.set_yscale("log")
    names = [case.dtype if letter == "dtype" else f"{getattr(case, letter):,}" for case in cases]
    axes.set_xticks(_places(cases, letter), names)
    axes.minorticks_off()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axes.set_xlabel(_MEANING[letter])


def _places(cases: Sequence[Case], letter: str) -> list[int]:
    """Where the cases stand on the horizontal axis."""
    return list(range(len(cases))) if letter == "dtype" else [getattr(case, letter) for case in cases]


def _finish(figure: Figure, title: str, suite: str, results: Results) -> None:
    """Title, one legend for all panels, and where the numbers come from."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside right center")
    figure.suptitle(title)
    source(figure, suite, results)
