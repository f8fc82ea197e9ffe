"""Markdown tables of recorded results, one function a block.

B batch, T frames, D channels, E experts, K experts in use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median

from .cases import AXES, CENTER, GROWTH_E, GROWTH_K, GROWTH_T, PASSES, SKIPPING, Case, varied
from .results import NAMES, Results, markdown, mebibytes, milliseconds, ratio, sizes

WITHIN = 1.05
"""A time up to this part of another counts as not slower: two runs of the same differ by as much."""


def published(results: Results) -> str:
    """Every implementation at the three sizes."""
    lines = []
    for case in results.cases("published"):
        base = results.row("published", case, "published")
        for row in results.rows("published", case):
            if row.reason is not None:
                lines.append([sizes(case), NAMES[row.implementation], f"no number: {row.reason}", *["–"] * 6])
                continue
            times = [row.times.get(which) for which in PASSES]
            than = [ratio(base.times.get(which) if base else None, row.times.get(which)) for which in PASSES]
            work = "–" if not row.flops or not base or not base.flops else f"{row.flops / base.flops:.2f}"
            cells = [NAMES[row.implementation], *map(milliseconds, times), than[0], than[2], mebibytes(row.memory)]
            lines.append([sizes(case), *cells, work])
    header = ("B, T, D, E, K", "implementation", "forward, ms", "backward, ms", "both, ms")
    more = ("forward, × published", "both, × published", "peak MiB", "FLOPs, of published")
    return markdown([*header, *more], lines, text_columns=2) if lines else ""


def published_short(results: Results) -> str:
    """This layer alone at the three sizes, as a multiple of the published computation."""
    lines = []
    for case in results.cases("published"):
        row, base = (results.row("published", case, name) for name in ("layer", "published"))
        if row is None or base is None or row.reason or base.reason:
            lines.append([sizes(case), *["no number"] * 4])
            continue
        faster = [ratio(base.times.get(which), row.times.get(which)) for which in ("forward", "both")]
        memory = "–" if not row.memory or not base.memory else f"1/{base.memory / row.memory:.0f}"
        work = "–" if not row.flops or not base.flops else f"{row.flops / base.flops:.2f}"
        lines.append([sizes(case), *faster, memory, work])
    header = ("B, T, D, E, K", "forward, times as fast", "forward and backward", "peak memory", "FLOPs")
    return markdown(header, lines) if lines else ""


def pool(results: Results) -> str:
    """The kernel's rate against that of a plain matrix product."""
    lines = []
    for case in results.cases("pool"):
        product = results.time("pool", case, "matrix_product", "forward")
        work = 2 * case.B * case.T * case.D * case.K * (case.D // 2)
        for row in results.rows("pool", case):
            time = row.times.get("forward")
            rate = "–" if time is None else f"{work / time.median / 1e12:.0f}"
            part = "–" if time is None or product is None else f"{100 * product.median / time.median:.0f} %"
            shown = milliseconds(time) if row.reason is None else f"no number: {row.reason}"
            lines.append([sizes(case), NAMES[row.implementation], shown, rate, part])
    header = ["B, T, D, E, K", "computation", "forward, ms", "TFLOP/s", "of the product's rate"]
    return markdown(header, lines, text_columns=2) if lines else ""


def growth(results: Results) -> str:
    """Time and memory as clips get longer and experts more, and what skipping saves."""
    if not results.cases("growth"):
        return ""
    parts = [
        "Forward, ms, against the clip's length:\n\n" + _times("growth", GROWTH_T, "T", "forward", results),
        "\n" + _linearity(results),
        "\nForward, ms, against the number of experts:\n\n" + _times("growth", GROWTH_E, "E", "forward", results),
        "\n" + _flatness(results),
    ]
    for letter, cases in (("T", GROWTH_T), ("E", GROWTH_E), ("K", GROWTH_K)):
        parts.append(f"\nPeak memory of forward and backward, MiB, against {letter}:\n\n")
        parts.append(_memory(cases, letter, results))
    rows = results.rows("growth", SKIPPING)
    if rows:
        whole = results.time("growth", SKIPPING, "layer_without_skipping", "forward")
        lines = [
            [NAMES[row.implementation], milliseconds(time), ratio(whole, time), f"{row.output_error:.1e}"]
            if (time := row.times.get("forward")) and row.output_error is not None
            else [NAMES[row.implementation], f"no number: {row.reason}", "–", "–"]
            for row in rows
        ]
        parts.append(f"\nEvery std forced to {SKIPPING.stds} at {sizes(SKIPPING)}:\n\n")
        header = ["implementation", "forward, ms", "times as fast as with nothing skipped", "error against float64"]
        parts.append(markdown(header, lines))
    return "".join(parts)


def axes(results: Results) -> str:
    """All implementations as one size varies."""
    cases = results.cases("axes")
    if not cases:
        return ""
    around = sizes(replace(CENTER, dtype=cases[0].dtype))
    parts = []
    for which, name in (("forward", "Forward"), ("both", "Forward and backward")):
        for letter in (*AXES, "dtype"):
            if shown := varied(cases, letter):
                parts.append(f"{name}, ms, against {letter}, around {around}:\n\n")
                parts.append(_times("axes", shown, letter, which, results) + "\n")
    return "".join(parts).rstrip("\n") + "\n"


def grid(results: Results) -> str:
    """Every size of the grid."""
    lines = []
    for case in results.cases("grid"):
        cells = []
        for which in ("forward", "both"):
            base = results.time("grid", case, "factored_compiled", which)
            for name in ("layer", "layer_compiled"):
                time = results.time("grid", case, name, which)
                cells += [milliseconds(time, spread=False), ratio(base, time)]
            cells.append(milliseconds(base, spread=False))
        lines.append([sizes(case), *cells])
    columns = ("layer", "×", "layer, compiled", "×", "factored, compiled")
    header = ["B, T, D, E, K", *(f"{which}: {column}" for which in ("forward", "both") for column in columns)]
    return markdown(header, lines) if lines else ""


def grid_summary(results: Results) -> str:
    """How often the layer is not slower than the compiled factored computation, and every size where it is."""
    cases = results.cases("grid")
    if not cases:
        return ""
    lines, losses = [], []
    for which in ("forward", "both"):
        for name in ("layer", "layer_compiled"):
            found = []
            for case in cases:
                time, base = (results.time("grid", case, each, which) for each in (name, "factored_compiled"))
                if time is None or base is None:
                    reasons = [row.reason for row in results.rows("grid", case) if row.reason is not None]
                    losses.append([NAMES[name], which, sizes(case), "–", "–", f"no number: {'; '.join(reasons)}"])
                    continue
                found.append(base.median / time.median)
                if time.median > WITHIN * base.median:
                    times = (milliseconds(time), milliseconds(base))
                    losses.append([NAMES[name], which, sizes(case), *times, f"{found[-1]:.2f}×"])
            if found:
                good = sum(each >= 1 / WITHIN for each in found)
                spread = [f"{number:.2f}×" for number in (min(found), median(found), max(found))]
                lines.append([NAMES[name], which, f"{good} of {len(cases)}", *spread])
    faster = ["implementation", "pass", "at most 5 % slower, or faster", "least", "median", "most"]
    text = "Times as fast as the factored computation under `torch.compile`:\n\n" + markdown(faster, lines, 2)
    if losses:
        header = ["implementation", "pass", "B, T, D, E, K", "ms", "factored, compiled: ms", "times as fast"]
        text += "\nWhere it is slower by more:\n\n" + markdown(header, losses, 3)
    return text


BLOCKS: dict[str, tuple[tuple[str, ...], Callable[[Results], str]]] = {
    "published": (("published",), published),
    "published-short": (("published",), published_short),
    "pool": (("pool",), pool),
    "growth": (("growth",), growth),
    "axes": (("axes",), axes),
    "grid-summary": (("grid",), grid_summary),
    "grid": (("grid",), grid),
}
"""Each block's suites, and what draws its tables."""


def block(name: str, results: Results) -> str:
    """The tables of a block with where they come from; empty where nothing is recorded of it."""
    suites, draw = BLOCKS[name]
    table = draw(results)
    return f"{table}\n{results.caption(suites)}\n" if table else ""


def _times(suite: str, cases: Sequence[Case], letter: str, which: str, results: Results) -> str:
    recorded = [case for case in cases if results.rows(suite, case)]
    lines = [
        [NAMES[name], *(milliseconds(results.time(suite, case, name, which), spread=False) for case in recorded)]
        for name in results.implementations(suite, recorded)
    ]
    return markdown(["", *(_heading(case, letter) for case in recorded)], lines)


def _memory(cases: Sequence[Case], letter: str, results: Results) -> str:
    recorded = [case for case in cases if results.rows("growth", case)]
    lines = []
    for name in results.implementations("growth", recorded):
        rows = [results.row("growth", case, name) for case in recorded]
        lines.append([NAMES[name], *(mebibytes(row.memory if row else None) for row in rows)])
    return markdown(["", *(_heading(case, letter) for case in recorded)], lines)


def _heading(case: Case, letter: str) -> str:
    return case.dtype if letter == "dtype" else f"{letter} = {getattr(case, letter):,}"


def _linearity(results: Results) -> str:
    """The power of T that fits the layer's times, by least squares on logarithms."""
    times = [(case.T, results.time("growth", case, "layer", "forward")) for case in GROWTH_T]
    points = [(math.log(T), math.log(time.median)) for T, time in times if time is not None]
    if len(points) < 3:
        return ""
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    off = max(abs(math.expm1(y - mean_y - slope * (x - mean_x))) for x, y in points)
    return f"This layer's time grows as T to the power {slope:.2f} (no point is off by more than {100 * off:.0f} %).\n"


def _flatness(results: Results) -> str:
    times = [results.time("growth", case, "layer", "forward") for case in GROWTH_E]
    medians = [time.median for time in times if time is not None]
    if len(medians) < 2:
        return ""
    return (
        f"From the fewest experts to the most this layer's time changes by "
        f"{100 * (medians[-1] / medians[0] - 1):+.0f} %; the slowest takes "
        f"{max(medians) / min(medians):.2f} times the fastest.\n"
    )
