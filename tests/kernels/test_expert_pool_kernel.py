"""The Triton kernel of expert pooling, forward, against the formula in float64: state, mass, bits.

It runs on a CUDA device, or with TRITON_INTERPRET=1 on a CPU.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed: it is there on Linux only")

from gaussian_moe.kernels.expert_pool import configs, launch
from gaussian_moe.kernels.expert_pool.compilations import compilations
from gaussian_moe.kernels.expert_pool.layout import laid_out
from tests.kernels.pool_cases import (
    DEVICE,
    EXACT,
    FORMS,
    INTERPRETED,
    NEEDS,
    Case,
    all_strided,
    assert_near,
    case,
    formula,
    poison_empty,
    strided,
    unpacked,
)

pytestmark = NEEDS
TARGETS = ["sm_75", "sm_80", "sm_90", "sm_100", "gfx942"]
# One frame; a frame short of four blocks; every expert in use; one expert; fewer units and channels than any block has;
# a word of bits and a block exactly full.
SIZES = [{"T": 1}, {"T": 63}, {"G": 3, "E": 3}, {"E": 1, "G": 1}, {"H": 4, "D": 5}, {"H": 32, "D": 16, "T": 16}]
# More units than any block has: a second block of them, and words of their bits behind the first one's.
SIZES += [{"H": 260, "D": 2, "T": 2, "G": 1, "E": 1}]


@pytest.fixture(autouse=True)
def _on_the_device() -> Iterator[None]:
    with torch.device(DEVICE):
        yield


@pytest.fixture(autouse=True)
def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    poison_empty(monkeypatch)


def check(given: Case, epsilon: float = 0.0) -> None:
    """State, mass and bits are the formula's."""
    wanted = formula(given)
    state, mass, bits = launch.pool_forward(*given, epsilon, True)
    assert (state.dtype, mass.dtype) == (given.frames.dtype, EXACT)
    assert_near(state, wanted.state)
    assert_near(mass, wanted.mass)
    counted = ~given.mask[:, None, None, :, None]
    # float32 may round a unit next to 0 to the other side of it.
    sure = counted & (wanted.hidden.abs() > 1e-4)
    B, S, G, T, H = wanted.hidden.shape
    assert bits.shape == (B, S, G, T, -(-H // 32))
    assert not ((unpacked(bits, H) != (wanted.hidden > 0)) & sure).any()
    assert not unpacked(bits, 32 * bits.shape[-1])[..., H:].any()
    without, other_mass, nothing = launch.pool_forward(*given, epsilon, False)
    assert_near(without, wanted.state)
    assert torch.equal(other_mass, mass)
    assert nothing.shape == (0,)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_state_mass_and_bits(form: str, given: bool) -> None:
    check(case(form, given))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_any_size(sizes: dict[str, int]) -> None:
    check(case("even", False, **{"B": 1, **sizes}))


def test_streams_share_weights_and_experts() -> None:
    given = case("lengths", False, B=2, S=3, T=5, H=4)
    state, mass, _ = launch.pool_forward(*given, 0.0, False)
    for stream in range(3):
        alone = given._replace(frames=given.frames[:, stream : stream + 1])
        assert torch.equal(launch.pool_forward(*alone, 0.0, False)[0], state[:, stream : stream + 1])
    assert_near(state, formula(given).state)
    assert_near(mass, formula(given).mass)


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("chunks", [2, 3])
def test_windows_cut_in_chunks(chunks: int, given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """More chunks than some windows have blocks: those that are left over add nothing."""
    monkeypatch.setattr(configs, "shares", lambda *_: chunks)
    check(case("times-padding", given, T=40, H=4))


@pytest.mark.parametrize("given", [pytest.param(False, marks=pytest.mark.slow), True])
def test_other_sizes_and_strides_are_laid_out(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "granule", lambda _: 16)
    check(case("lengths", given, S=2))
    check(all_strided(case("lengths", given, D=16, H=32)))


def test_only_what_has_another_layout_is_copied() -> None:
    x = torch.randn(3, 4, 48)
    assert laid_out(x, (48,), 16) is x
    assert laid_out(x[:, 1:], (48,), 16).data_ptr() == x[:, 1:].data_ptr()
    assert laid_out(x.expand(2, 3, 4, 48), (48,), 16).stride() == (0, 192, 48, 1)
    others = {
        "row": torch.randn(3, 4, 49)[..., :48],
        "start": x.flatten()[1:97].view(2, 48),
        "gaps": x.mT.contiguous().mT,
        "some rows": torch.randn(3, 16, 49)[..., :48],
    }
    for name, other in others.items():
        copied = laid_out(other, other.shape[-1:], 16)
        assert torch.equal(copied, other), name
        assert copied.is_contiguous(), name
        assert copied.data_ptr() != other.data_ptr(), name
        assert laid_out(other, other.shape[-1:], 1) is other
    apart = torch.randn(3, 4, 40, 2).movedim(-1, 1)
    assert laid_out(apart, (48,), 16).is_contiguous()
    longer = laid_out(x[..., :33], (5, 48), 16)
    assert longer.shape == (3, 5, 48)
    assert torch.equal(longer[:, :4, :33], x[..., :33])
    assert not longer[:, 4:].any()
    assert not longer[..., 33:].any()


def test_few_clips_are_cut_and_many_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configs, "processors", lambda _: 100)
    device = torch.device("cpu")
    assert [configs.shares(work, programs, device) for work, programs in ((64, 1), (999, 4), (9, 99), (9, 100))] == [
        64,
        25,
        2,
        1,
    ]
    long = configs.FORWARD["sm_90", "half"]
    blocks = [configs.pick(long, T, lambda _: 999, device).block_t for T in (60, 100, 4096)]
    assert blocks == [64, 128, 256]
    # One long block a clip would leave most of the device idle.
    assert configs.pick(long, 256, lambda _: 30, device).block_t == 64


def test_frames_out_of_reach_are_not_read() -> None:
    given = case("even", False, B=1, G=2, T=200, D=5, H=4)
    assert given.stds is not None
    given.stds.copy_(torch.tensor([[0.02, 0.03]]))
    assert given.centers is not None
    given.centers.copy_(torch.tensor([[0.2, 0.7]]))
    epsilon = 1e-8
    exact, mass, _ = launch.pool_forward(*given, 0.0, False)
    got, reached, bits = launch.pool_forward(*given, epsilon, True)
    scale = exact.abs().amax()
    assert (got - exact).abs().amax() <= 200 * epsilon * scale
    assert (reached - mass).abs().amax() <= 200 * epsilon
    # The windows cover frames 16 to 64 and 103 to 176, about.
    given.frames[:, :, :10] = given.frames[:, :, 75:95] = given.frames[:, :, 190:] = torch.nan
    assert torch.equal(launch.pool_forward(*given, epsilon, False)[0], got)
    assert not bits[:, :, 0, 75:].any()
    assert not bits[:, :, 1, :95].any()


def test_a_nan_stays_one() -> None:
    given = case("even", True, B=2, T=5, D=5, H=4)
    given.frames[0, 0, 2, 3] = torch.nan
    state = launch.pool_forward(*given, 0.0, False)[0]
    assert bool(state[0].isnan().all())
    assert not state[1].isnan().any()


@pytest.mark.parametrize(("B", "G", "T"), [(0, 2, 5), (2, 0, 5), (2, 2, 0)])
@pytest.mark.parametrize("given", [False, True])
def test_nothing_there(B: int, G: int, T: int, given: bool) -> None:
    state, mass, bits = launch.pool_forward(*case("even", given, B=B, G=G, T=T, H=4), 0.0, True)
    assert (state.shape, mass.shape, bits.shape) == ((B, 1, G, 4), (B, G), (B, 1, G, T, 1))
    assert not state.any()
    assert not mass.any()


@pytest.mark.parametrize("given", [False, True])
def test_any_layout_of_the_arguments(given: bool) -> None:
    one = case("times-padding", given, T=7, H=4)
    assert one.padding is not None
    assert one.times is not None
    padding = one.padding.t().contiguous().t()
    spread = {
        name: strided(value) for name, value in one._asdict().items() if value is not None and value.is_floating_point()
    }
    indices = torch.stack([one.indices, one.indices], -1)[..., 0]
    other = one._replace(**spread, padding=padding, indices=indices)
    assert not other.frames.is_contiguous()
    for got, wanted in zip(launch.pool_forward(*other, 0.0, True), launch.pool_forward(*one, 0.0, True), strict=True):
        assert torch.equal(got, wanted)
    shared = one._replace(
        times=torch.linspace(0, 1, 7, dtype=EXACT).expand(2, 7), frames=one.frames[:1].expand(2, 1, 7, 17)
    )
    assert_near(launch.pool_forward(*shared, 0.0, False)[0], formula(shared).state)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("given", [False, True])
def test_low_precision_is_as_good_as_plain_torch(dtype: torch.dtype, given: bool) -> None:
    narrow = case("lengths", given, T=40, D=33, H=32).to(dtype)
    exact, plain = formula(narrow), formula(narrow, dtype)
    state, mass, _ = launch.pool_forward(*narrow, 0.0, False)
    assert (state.dtype, mass.dtype) == (dtype, torch.float32)
    assert (state.double() - exact.state).abs().amax() <= 2 * (plain.state.double() - exact.state).abs().amax()
    assert (mass.double() - exact.mass).abs().amax() <= 2 * (plain.mass.double() - exact.mass).abs().amax() + 1e-6


@pytest.mark.skipif(not INTERPRETED, reason="a device takes its own blocks only")
@pytest.mark.parametrize("target", TARGETS)
def test_the_blocks_of_every_target(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a GPU would have them, the rows that its threads add up included."""
    monkeypatch.setattr(configs, "target", lambda _: target)
    for dtype in (torch.float32, torch.float16):
        for config in configs.forward(target, configs.kind(dtype, target), True):
            monkeypatch.setattr(configs, "pick", lambda *_, config=config: config)
            narrow = case("lengths", False, B=1, T=config.block_t + 1, D=config.block_d + 1, H=5).to(dtype)
            wanted = formula(narrow).state
            assert_error = (launch.pool_forward(*narrow, 0.0, True)[0].double() - wanted).abs().amax()
            assert assert_error <= 4 * torch.finfo(dtype).eps * wanted.abs().amax()


@pytest.mark.parametrize("target", TARGETS)
def test_compilations_name_every_argument(target: str) -> None:
    found = compilations(target)
    assert len({one.name for one in found}) == len(found)
    for one in found:
        assert list(one.signature) == one.kernel.arg_names
        assert {name for name, kind in one.signature.items() if kind == "constexpr"} == one.constexprs.keys()
        assert set(one.divisible) <= one.signature.keys() - one.constexprs.keys()
        assert {name for name, kind in one.signature.items() if kind.startswith("*")} <= set(one.divisible)
        assert {value for name, value in one.constexprs.items() if name.endswith("_stride")} <= {1}
    dtypes = {"fp16", "fp32"} if target == "sm_75" else {"bf16", "fp16", "fp32"}
    assert {one.signature["frames_ptr"][1:] for one in found if "frames_ptr" in one.signature} == dtypes
