"""The pictures: what they show is what the routing holds, without a display and without global state."""

from __future__ import annotations

import importlib
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

mpl = pytest.importorskip("matplotlib", reason="draws figures")
np = pytest.importorskip("numpy", reason="reads figures")

from matplotlib.collections import QuadMesh  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Rectangle, StepPatch  # noqa: E402

from gaussian_moe import RoutingStatistics, expert_spans, gated_timeline, routing_statistics  # noqa: E402
from gaussian_moe._plot_style import COLORS, look  # noqa: E402
from gaussian_moe.plot import plot_history, plot_timeline  # noqa: E402
from tests.gaussian_moe.routings import random_routing  # noqa: E402

ROOT = Path(__file__).parents[2]


def history(num_steps: int, num_experts: int = 5) -> list[RoutingStatistics]:
    return [
        routing_statistics(random_routing(4, num_experts=num_experts, num_frames=0, seed=s)) for s in range(num_steps)
    ]


def row_names(figure: Figure) -> list[str]:
    return [label.get_text() for label in figure.axes[1].get_yticklabels()]


def bars(figure: Figure) -> list[tuple[float, float]]:
    """Start and end of each bar, in the order of drawing."""
    patches = [patch for patch in figure.axes[1].patches if isinstance(patch, Rectangle)]
    return [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in patches]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_can_be_saved(tmp_path: Path, suffix: str) -> None:
    for name, figure in (("timeline", plot_timeline(random_routing(2))), ("history", plot_history(history(3)))):
        path = tmp_path / f"{name}.{suffix}"
        figure.savefig(path)
        assert path.stat().st_size > 3000


def test_the_timeline_shows_windows_spans_and_truth() -> None:
    lengths = torch.tensor([6, 9])
    routing = random_routing(2, lengths=lengths)
    durations = torch.tensor([30.0, 45.0])
    figure = plot_timeline(routing, 0, lengths=lengths, duration=durations, start=5.0, truth=(7.0, 11.0), title="$x")
    *windows, mixed = figure.axes[0].lines
    assert routing.weights is not None
    # The weakest is drawn first.
    for line, wanted in zip(windows, routing.weights[0, :, :6].flip(0).tolist(), strict=True):
        assert np.allclose(line.get_ydata(), wanted)
    assert np.allclose(mixed.get_ydata(), gated_timeline(routing)[0, :6])
    assert np.allclose(mixed.get_xdata(), np.linspace(5, 35, 6))
    assert row_names(figure) == ["truth", *(f"expert {index}" for index in routing.indices[0])]
    spans = expert_spans(routing, duration=durations, start=5.0)
    wanted = [(7.0, 11.0), *zip(spans.start[0].tolist(), spans.end[0].tolist(), strict=True)]
    assert np.allclose(bars(figure), wanted)
    assert figure.axes[1].get_xlim() == (5.0, 35.0)
    gates = [text.get_text() for text in figure.axes[1].texts]
    assert gates == ["gate", *(f"{gate:.2f}" for gate in routing.gates[0])]
    # As it was given: a dollar begins no formula.
    assert figure.get_suptitle() == "$x"


def test_opacity_follows_the_gates() -> None:
    figure = plot_timeline(random_routing(1, top_k=5))
    opacities = [line.get_alpha() or 0.0 for line in figure.axes[0].lines[:-1]]
    assert opacities == sorted(opacities)
    assert len(set(opacities)) == 5


def test_times_and_a_mask_place_the_frames() -> None:
    times = torch.tensor([10.0, 12.0, 13.0, 20.0, 21.0, 22.0, 30.0, 31.0, 40.0])
    mask = torch.tensor([[False] * 7 + [True] * 2, [False] * 9])
    figure = plot_timeline(
        random_routing(2), 0, key_padding_mask=mask, times=times, duration=torch.tensor([20.0, 30.0]), start=times[0]
    )
    assert np.allclose(figure.axes[0].lines[-1].get_xdata(), times[:7])


def test_without_weights_smooth_gaussians_are_drawn() -> None:
    routing = random_routing(1, num_frames=0, top_k=2)
    for line, center, std in zip(
        plot_timeline(routing).axes[0].lines, routing.centers[0].flip(0), routing.stds[0].flip(0), strict=False
    ):
        time, weight = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
        assert np.allclose(weight, np.exp(-((time - float(center)) ** 2) / (2 * float(std) ** 2)))


def test_several_gaussians_are_bars_in_one_row() -> None:
    with_weights = random_routing(2, 3, num_gaussians=2)
    for routing in (with_weights, with_weights._replace(weights=None)):
        figure = plot_timeline(routing, (1, 2))
        assert len(bars(figure)) == 6
        assert len(row_names(figure)) == 3


def test_a_clip_with_no_frames_is_said_to_have_none() -> None:
    lengths = torch.tensor([0, 9])
    figure = plot_timeline(random_routing(2, lengths=lengths), lengths=lengths)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no frames"]


def test_many_experts_are_cut_to_the_largest_gates() -> None:
    routing = random_routing(1, num_experts=40, top_k=20)
    assert row_names(plot_timeline(routing)) == [f"expert {index}" for index in routing.indices[0, :8]]


def test_gradients_are_no_hindrance() -> None:
    routing = random_routing(1)
    assert routing.weights is not None
    plot_timeline(routing._replace(centers=routing.centers.requires_grad_(), weights=routing.weights.requires_grad_()))


def test_the_history_stacks_the_load() -> None:
    recorded = history(12)
    figure = plot_history(recorded, steps=range(0, 120, 10))
    areas = [patch for patch in figure.axes[0].patches if isinstance(patch, StepPatch)]
    below = np.zeros(12)
    for expert, area in enumerate(areas):
        values, edges, baseline = area.get_data()
        assert np.allclose(baseline, below)
        below = below + np.asarray([float(statistics.load[expert]) for statistics in recorded])
        assert np.allclose(values, below)
        assert np.allclose(edges, np.arange(-5, 120, 10))
    assert np.allclose(below, 1.0)
    router, gates, uniform = figure.axes[1].lines
    assert np.allclose(router.get_ydata(), [float(statistics.entropy) for statistics in recorded])
    assert np.allclose(gates.get_ydata(), [float(statistics.gate_entropy) for statistics in recorded])
    assert math.isclose(float(np.asarray(uniform.get_ydata())[0]), math.log(5))


def test_importance_tells_experts_apart_where_all_are_in_use() -> None:
    recorded = [routing_statistics(random_routing(4, top_k=5))]
    tops = {}
    for share in ("load", "importance"):
        areas = [patch for patch in plot_history(recorded, share=share).axes[0].patches if isinstance(patch, StepPatch)]
        tops[share] = [float(area.get_data()[0][0]) for area in areas]
    assert np.allclose(tops["load"], np.arange(1, 6) / 5)
    assert np.allclose(tops["importance"], recorded[0].importance.cumsum(0))


def test_many_experts_are_a_heat_map() -> None:
    recorded = history(7, num_experts=12)
    figure = plot_history(recorded)
    (mesh,) = (item for item in figure.axes[0].collections if isinstance(item, QuadMesh))
    assert np.allclose(np.asarray(mesh.get_array()), torch.stack([statistics.load for statistics in recorded]).T)
    # No expert at all is the scale's end, whatever the smallest share is; the scale says what it shows.
    assert mesh.get_clim()[0] == 0
    assert mesh.colorbar is not None
    assert "load" in mesh.colorbar.ax.get_ylabel()


def test_long_histories_are_averaged_by_questions() -> None:
    few, many = history(2)
    few, many = few._replace(questions=torch.tensor(1)), many._replace(questions=torch.tensor(3))
    figure = plot_history([few, many], max_columns=1)
    wanted = (float(few.entropy) + 3 * float(many.entropy)) / 4
    assert math.isclose(float(np.asarray(figure.axes[1].lines[0].get_ydata())[0]), wanted)
    empty = [statistics._replace(questions=torch.tensor(0)) for statistics in (few, many)]
    assert np.isfinite(plot_history(empty, max_columns=1).axes[1].lines[0].get_ydata()).all()
    assert len(np.asarray(plot_history(history(50), max_columns=10).axes[1].lines[0].get_xdata())) == 10


def test_errors_name_the_argument() -> None:
    with pytest.raises(ValueError, match=r"index must have 2 numbers for questions of shape \[2, 3\], got \(0,\)"):
        plot_timeline(random_routing(2, 3), 0)
    with pytest.raises(ValueError, match="max_experts must be at least 1"):
        plot_timeline(random_routing(2), max_experts=0)
    with pytest.raises(ValueError, match="history is empty"):
        plot_history([])
    with pytest.raises(ValueError, match='share must be "load" or "importance"'):
        plot_history(history(2), share="gates")
    with pytest.raises(ValueError, match="steps must be as many as the history, 2, got 1"):
        plot_history(history(2), steps=[1])
    with pytest.raises(ValueError, match="max_columns must be at least 1"):
        plot_history(history(2), max_columns=0)


@pytest.mark.slow
def test_the_extra_is_named_and_pyplot_is_not_imported() -> None:
    source = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "try:\n    import gaussian_moe.plot\nexcept ImportError as error:\n    print(error)\n"
        "del sys.modules['matplotlib']; import gaussian_moe.plot; print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == [
        'gaussian_moe.plot needs matplotlib; pip install "gaussian-moe[plot]"',
        "False",
    ]


def test_experts_beyond_the_colors_have_other_lines() -> None:
    assert len({look(expert) for expert in range(2 * len(COLORS))}) == 2 * len(COLORS)
    assert look(1000)[0] in COLORS


def test_the_legend_reads_as_the_areas_are_stacked() -> None:
    legend = plot_history(history(3)).axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [f"expert {expert}" for expert in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("package", ["matplotlib", "numpy"])
def test_without_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("gaussian_moe.plot", "gaussian_moe._plot"))]:
        monkeypatch.delitem(sys.modules, name)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, package, None)
        with pytest.raises(ImportError, match=r'pip install "gaussian-moe\[plot\]"'):
            importlib.import_module("gaussian_moe.plot")
    # What else is missing is told as it is.
    monkeypatch.setitem(sys.modules, "gaussian_moe._plot_style", None)
    with pytest.raises(ModuleNotFoundError, match="_plot_style"):
        importlib.import_module("gaussian_moe.plot")
