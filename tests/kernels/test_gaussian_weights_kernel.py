"""The Triton kernels of the Gaussian weights against the reference in float64: weights, gradients, windows.

They run on a CUDA device, or with TRITON_INTERPRET=1 on a CPU.

B batch, G Gaussians of one clip, T frames.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from gaussian_moe.kernels.gaussian_weights import gaussian_weights_reference

pytest.importorskip("triton", reason="Triton is not installed: it is there on Linux only")

from gaussian_moe.kernels.gaussian_weights import launch

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
pytestmark = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="needs TRITON_INTERPRET=1 or a CUDA device"
)

# The kernels pass through infinities on purpose, and the interpreter is numpy, which remarks on each.
OVERFLOW = pytest.mark.filterwarnings("ignore:(overflow|invalid value|divide by zero) encountered:RuntimeWarning")
FORMS = ["even", "lengths", "times", "times-lengths", "times-padding", "shared-padding"]
# Frames and the block's size, or None as the launcher has it: one frame; a frame short of the smallest block; a frame
# short of several steps; more than the largest block.
SIZES = [(1, None), (63, None), (63, 16), (4100, None)]


class Case(NamedTuple):
    """What the launcher takes, and the same for the reference: everything written out, NaN of padding replaced."""

    centers: Tensor
    stds: Tensor
    times: Tensor | None
    lengths: Tensor | None
    padding: Tensor | None
    num_frames: int
    places: Tensor
    mask: Tensor

    @property
    def timeline(self) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        return self.times, self.lengths, self.padding


def case(form: str, T: int, dtype: torch.dtype = torch.float64) -> Case:
    """Four clips with four Gaussians each: a center before the clip, one behind it, a narrow Gaussian, a usual one."""
    B, G = 4, 4
    centers = torch.rand(B, G, dtype=dtype)
    centers[:, 0], centers[:, 1] = -0.3, 1.2
    stds = 0.01 + 0.1 * torch.rand(B, G, dtype=dtype)
    stds[:, 2] = 1e-3
    lengths, padding, times = None, None, None
    mask = torch.zeros(B, T, dtype=torch.bool)
    if "lengths" in form:
        lengths = torch.tensor([T, T // 2 + 1, 1, 0])
        mask = torch.arange(T) >= lengths.unsqueeze(-1)
    if "padding" in form:
        mask = torch.rand(B, T) < 0.4
        mask[0], mask[1, 0] = True, False
        padding = mask
    if form in ("even", "lengths"):
        count = (~mask).sum(-1, keepdim=True)
        places = torch.arange(T, dtype=dtype) / (count - 1).clamp(min=1).to(dtype)
    elif "shared" in form:
        times = places = torch.rand(T, dtype=dtype).sort().values.expand(B, T)
    else:
        # In no order, and every third frame at the time of another.
        places = torch.rand(B, T, dtype=dtype)
        places[:, ::3] = places.flip(-1)[:, ::3]
        times = places.masked_fill(mask, torch.nan)
    return Case(centers, stds, times, lengths, padding, T, places, mask)


def reference(given: Case, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """The reference's weights, and centers and stds as leaves of its graph."""
    centers = given.centers.to(dtype).detach().requires_grad_()
    stds = given.stds.to(dtype).detach().requires_grad_()
    return gaussian_weights_reference(centers, stds, given.places.to(dtype), given.mask), centers, stds


def forward(given: Case) -> Tensor:
    return launch.weights_forward(given.centers, given.stds, *given.timeline, given.num_frames)


@pytest.mark.parametrize("std", [0.0, 1e-40, 1e-30])
def test_two_frames_as_near_as_each_other_weigh_the_same(std: float) -> None:
    """However narrow the window is."""
    center, stds = torch.full((1, 1), 0.5), torch.full((1, 1), std)
    for times in (None, torch.tensor([[0.0, 1.0]])):
        assert launch.weights_forward(center, stds, times, None, None, 2).tolist() == [[[1.0, 1.0]]]


def test_a_step_is_the_smallest_that_holds_the_clip() -> None:
    frames = (1, 64, 65, 256, 257, 1024, 1025, 4096, 65536)
    assert [launch.config(count)[0] for count in frames] == [64, 64, 256, 256, 1024, 1024, 4096, 4096, 4096]


def magnitudes(given: Case, grad: Tensor, factored: bool) -> tuple[Tensor, Tensor]:
    """What the gradients of centers and stds add up, in absolute values: rounding is a share of it; [B, G] each.

    The kernel adds the frame's and the nearest frame's part as one product, autograd one by one.
    """
    weights = reference(given)[0].detach()
    offset = given.places.double().unsqueeze(1) - given.centers.double().unsqueeze(-1)
    frame = offset.abs().masked_fill(given.mask.unsqueeze(1), torch.inf).argmin(-1, keepdim=True)
    nearest = offset.gather(-1, frame)
    if factored:
        by_center, by_std = (offset - nearest).abs(), (offset.square() - nearest.square()).abs()
    else:
        by_center, by_std = offset.abs() + nearest.abs(), offset.square() + nearest.square()
    shares, stds = grad.double().abs() * weights, given.stds.double()
    return (shares * by_center).sum(-1) / stds**2, (shares * by_std).sum(-1) / stds**3


@pytest.fixture(autouse=True)
def _on_the_device() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does not write is NaN, or -7 among integers."""
    empty = torch.empty

    def poisoned(*size: int, **options: Any) -> Tensor:
        result: Tensor = empty(*size, **options)
        return result.fill_(torch.nan if result.is_floating_point() else -7)

    monkeypatch.setattr(torch, "empty", poisoned)


@pytest.fixture(params=SIZES, ids=str)
def num_frames(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """A clip's size, with the blocks that go with it."""
    frames, block = request.param
    if block:
        monkeypatch.setattr(launch, "CONFIGS", ((block, 1),))
    return int(frames)


@pytest.mark.parametrize("form", FORMS)
def test_weights_are_the_references(form: str, num_frames: int) -> None:
    given = case(form, num_frames)
    got, (wanted, _, _) = forward(given), reference(given)
    assert got.shape == (*given.centers.shape, num_frames)
    torch.testing.assert_close(got, wanted.detach(), rtol=0, atol=1e-12)
    valid = (~given.mask).any(-1)
    assert bool((got.amax(-1)[valid] == 1).all())


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_the_references(form: str, num_frames: int) -> None:
    given = case(form, num_frames)
    weights, centers, stds = reference(given)
    grad = torch.randn_like(weights)
    wanted = torch.autograd.grad(weights, (centers, stds), grad)
    # A gradient that comes for padding is not read.
    poisoned = grad.masked_fill(given.mask.unsqueeze(1), torch.nan)
    got = launch.weights_backward(poisoned, given.centers, given.stds, *given.timeline)
    for ours, exact, size in zip(got, wanted, magnitudes(given, grad, factored=False), strict=True):
        assert bool(((ours - exact).abs() <= 1e-10 * exact.abs() + 1e-15 * size).all())


@pytest.mark.parametrize("T", [60, 1000])
@pytest.mark.parametrize("form", FORMS)
def test_float32_is_as_good_as_plain_torch(form: str, T: int) -> None:
    given = case(form, T, torch.float32)
    exact, *leaves = reference(given)
    plain, *plain_leaves = reference(given, torch.float32)
    grad = torch.randn(4, 4, T)
    wanted = (exact, *torch.autograd.grad(exact, leaves, grad.double()))
    plains = (plain, *torch.autograd.grad(plain, plain_leaves, grad))
    ours = (forward(given), *launch.weights_backward(grad, given.centers, given.stds, *given.timeline))
    sizes = (torch.ones(4, 4, 1), *magnitudes(given, grad, factored=True))
    for got, other, right, size in zip(ours, plains, wanted, sizes, strict=True):
        assert got.dtype == torch.float32
        # Each Gaussian by itself: the errors of plain torch outside the clip are a hundred times those within.
        error, allowed, scale = (
            x.detach().abs().reshape(4, 4, -1).amax((0, -1)) for x in (got - right, other - right, size)
        )
        # Of weights below float64's own rounding autograd gives noise: next to nothing is compared as nothing.
        rounding = torch.finfo(torch.float32).eps * scale.clamp(min=1.0)
        assert bool((error <= 2 * allowed + 4 * rounding).all())


@pytest.mark.parametrize("epsilon", [1e-8, 1e-4, 0.0])
@pytest.mark.parametrize("block", [16, 256])
@pytest.mark.parametrize("form", FORMS)
def test_a_window_is_the_frames_in_reach_and_no_wider(
    form: str, block: int, epsilon: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "CONFIGS", ((block, 1),))
    T = 70
    given = case(form, T)
    nearest, first, last = launch.windows(given.centers, given.stds, *given.timeline, T, epsilon)
    assert (first.dtype, last.dtype) == (torch.int32, torch.int32)
    weights, _, _ = reference(given)
    reached = ~given.mask.unsqueeze(1) & (weights >= epsilon)
    number = torch.arange(T)
    none = ~reached.any(-1)
    assert torch.equal(first.long(), torch.where(reached, number, T).amin(-1).masked_fill(none, 0))
    assert torch.equal(last.long(), torch.where(reached, number + 1, 0).amax(-1))
    distance = (given.places.unsqueeze(1) - given.centers.unsqueeze(-1)).abs()
    frame = distance.masked_fill(given.mask.unsqueeze(1), torch.inf).argmin(-1)
    assert torch.equal(nearest, given.places.gather(1, frame).masked_fill(none, 0.0))


def test_reach_is_a_distance() -> None:
    """|t - center| <= sqrt(d^2 + 2 std^2 ln(1 / epsilon)), d the distance of the nearest frame."""
    given = case("shared", 150)
    _, first, last = launch.windows(given.centers, given.stds, *given.timeline, 150, 1e-6)
    distance = (given.places.unsqueeze(1) - given.centers.unsqueeze(-1)).abs()
    least = distance.amin(-1, keepdim=True)
    inside = distance <= (least.square() + 2 * given.stds.unsqueeze(-1).square() * torch.tensor(1e6).log()).sqrt()
    number = torch.arange(150)
    assert torch.equal(inside, (first.unsqueeze(-1) <= number) & (number < last.unsqueeze(-1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("T", [1, 2, 60, 4097])
def test_even_times_need_not_be_given(T: int, dtype: torch.dtype) -> None:
    """They are i / (T - 1) to the last bit, and the frame nearest to a center is the one that a scan finds."""
    # Tensor by tensor: on a GPU torch would multiply by a number's reciprocal.
    times = torch.arange(T, dtype=dtype) / torch.tensor(max(T - 1, 1), dtype=dtype)
    halfway = (times[:-1] + times[1:]) / 2
    edges = torch.tensor([-5.0, -0.1, 0.0, 1.0, 5.0], dtype=dtype)
    centers = torch.cat([times[:8], halfway[:8], torch.rand(8, dtype=dtype), edges]).unsqueeze(0)
    given = times.unsqueeze(0)
    stds = torch.full_like(centers, 0.5 / T)
    assert torch.equal(
        launch.weights_forward(centers, stds, None, None, None, T),
        launch.weights_forward(centers, stds, given, None, None, T),
    )
    without, scanned = (launch.windows(centers, stds, t, None, None, T, 1e-8) for t in (None, given))
    assert all(torch.equal(a, b) for a, b in zip(without, scanned, strict=True))


@pytest.mark.parametrize("form", ["even", "times", "a-block-apart"])
def test_of_two_equally_near_frames_the_first_takes_the_gradient(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "CONFIGS", ((16, 1),))
    T = 17 if form == "a-block-apart" else 2
    times = torch.full((1, T), 9.0)
    times[0, 0], times[0, -1] = 0.0, 1.0
    centers, stds = torch.tensor([[0.5]]), torch.tensor([[0.125]])
    timeline = (None if form == "even" else times, None, None)
    weights = launch.weights_forward(centers, stds, *timeline, T)
    assert weights[0, 0, 0] == weights[0, 0, -1] == 1.0
    dcenters, dstds = launch.weights_backward(torch.ones_like(weights), centers, stds, *timeline)
    # d/dc of (t2 - c)^2 and (t1 - c)^2 differ by 2 (t2 - t1), over 2 std^2.
    assert dcenters.item() == 1 / 0.125**2
    assert dstds.item() == 0.0
    assert launch.windows(centers, stds, *timeline, T, 1e-8)[0].item() == 0.0


def test_no_weight_is_above_one() -> None:
    """So far from the clip all distances round to a few numbers, and a frame may be nearer than the one found."""
    centers, stds = torch.tensor([[-5.0]]), torch.tensor([[0.01]])
    times = torch.linspace(1e-6, 0, 60).unsqueeze(0)
    assert launch.weights_forward(centers, stds, times, None, None, 60).max() == 1.0


def test_frames_at_the_nearest_frames_time_share_its_weight() -> None:
    times = torch.tensor([[0.9, 0.4, 0.1, 0.4, 0.4]])
    centers, stds = torch.tensor([[0.43]]), torch.tensor([[1e-6]])
    assert launch.weights_forward(centers, stds, times, None, None, 5).tolist() == [[[0.0, 1.0, 0.0, 1.0, 1.0]]]
    grad = torch.ones(1, 1, 5)
    assert not any(gradient.any() for gradient in launch.weights_backward(grad, centers, stds, times, None, None))
    assert [x.item() for x in launch.windows(centers, stds, times, None, None, 5, 1e-8)[1:]] == [1, 5]


@OVERFLOW
@pytest.mark.parametrize("std", [1e-6, 1e-15, 1e-30, 1e-39])
def test_a_gaussian_far_narrower_than_a_frame_keeps_the_nearest(std: float) -> None:
    """Squares and quotients overflow on the way; the nearest frame's weight is 1, all else 0."""
    centers = torch.tensor([[0.0, 0.31, 0.999]])
    stds = torch.full_like(centers, std)
    weights = launch.weights_forward(centers, stds, None, None, None, 11)
    assert torch.equal(weights, torch.nn.functional.one_hot(torch.tensor([[0, 3, 10]]), 11).float())
    for gradient in launch.weights_backward(torch.ones_like(weights), centers, stds, None, None, None):
        assert gradient.tolist() == [[0.0, 0.0, 0.0]]
    _, first, last = launch.windows(centers, stds, None, None, None, 11, 1e-8)
    assert (first.tolist(), last.tolist()) == ([[0, 3, 10]], [[1, 4, 11]])


@OVERFLOW
def test_padding_nearer_than_every_frame_takes_no_part() -> None:
    times = torch.tensor([[torch.nan, 0.5, 1.0]])
    padding = torch.tensor([[True, False, False]])
    centers, stds = torch.tensor([[0.02]]), torch.tensor([[1e-25]])
    weights = launch.weights_forward(centers, stds, times, None, padding, 3)
    assert weights.tolist() == [[[0.0, 1.0, 0.0]]]
    gradients = launch.weights_backward(torch.ones_like(weights), centers, stds, times, None, padding)
    assert [gradient.item() for gradient in gradients] == [0.0, 0.0]


@pytest.mark.parametrize(("B", "G", "T"), [(0, 3, 5), (2, 0, 5), (2, 3, 0), (0, 0, 0)])
@pytest.mark.parametrize("given", [False, True])
def test_nothing_there(B: int, G: int, T: int, given: bool) -> None:
    centers, stds = torch.rand(B, G), torch.full((B, G), 0.1)
    times = torch.rand(B, T) if given else None
    assert launch.weights_forward(centers, stds, times, None, None, T).shape == (B, G, T)
    gradients = launch.weights_backward(torch.zeros(B, G, T), centers, stds, times, None, None)
    for result in (*gradients, *launch.windows(centers, stds, times, None, None, T, 1e-8)):
        assert result.shape == (B, G)
        assert not result.any()


def test_any_layout_of_the_arguments() -> None:
    given = case("times-padding", 63)
    assert given.times is not None
    assert given.padding is not None

    def strided(x: Tensor) -> Tensor:
        return torch.stack([x, x], -1)[..., 0]

    shuffled = given._replace(
        centers=given.centers.t().contiguous().t(),
        stds=strided(given.stds),
        times=given.times.t().contiguous().t(),
        padding=strided(given.padding),
    )
    assert torch.equal(forward(shuffled), forward(given))
    grad = torch.randn(63, 4, 4, dtype=torch.float64).permute(2, 1, 0)
    for one in (grad, grad[:1, :1, :1].expand(4, 4, 63)):
        got = launch.weights_backward(one, shuffled.centers, shuffled.stds, *shuffled.timeline)
        wanted = launch.weights_backward(one.contiguous(), given.centers, given.stds, *given.timeline)
        assert all(torch.equal(a, b) for a, b in zip(got, wanted, strict=True))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_lengths_of_either_integer(dtype: torch.dtype) -> None:
    given = case("lengths", 63)
    assert given.lengths is not None
    lengths = given.lengths.to(dtype).repeat_interleave(2)[::2]
    assert torch.equal(forward(given._replace(lengths=lengths)), forward(given))


def test_lengths_beyond_the_frames_are_all_frames() -> None:
    given = case("even", 63)
    longer = given._replace(lengths=torch.full((4,), 99))
    assert torch.equal(forward(longer), forward(given))


def test_a_nan_stays_one() -> None:
    """A center gone NaN must show, not turn into a weight or an empty window."""
    centers, stds = torch.tensor([[torch.nan]]), torch.tensor([[0.1]])
    for times in (None, torch.rand(1, 20)):
        weights = launch.weights_forward(centers, stds, times, None, None, 20)
        assert bool(weights.isnan().any())
        _, first, last = launch.windows(centers, stds, times, None, None, 20, 1e-8)
        assert (first.item(), last.item()) == (0, 20)
        gradients = launch.weights_backward(torch.ones_like(weights), centers, stds, times, None, None)
        assert all(bool(gradient.isnan().all()) for gradient in gradients)


def test_the_same_bits_every_time() -> None:
    given = case("times-padding", 4100, torch.float32)
    grad = torch.randn(4, 4, 4100)
    one, other = (launch.weights_backward(grad, given.centers, given.stds, *given.timeline) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("target", ["sm_75", "sm_80", "sm_90", "sm_100", "gfx942"])
def test_compilations_name_every_argument(target: str) -> None:
    found = launch.compilations(target)
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert list(one.signature) == one.kernel.arg_names
        assert {name for name, kind in one.signature.items() if kind == "constexpr"} == one.constexprs.keys()
        assert (one.constexprs["BLOCK_T"], one.num_warps) in launch.CONFIGS
        # Triton takes no other number than 1 for a constant by itself.
        assert {value for name, value in one.constexprs.items() if name.endswith("_stride")} <= {1}
        pointers = [name for name, kind in one.signature.items() if kind.startswith("*")]
        assert list(one.divisible) == pointers
