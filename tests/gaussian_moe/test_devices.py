"""The torch path on a device that nobody thought of: everything stays there, and nothing is in double precision.

The `meta` device stands for it, which refuses a tensor of another device; Apple's GPUs have no float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, QuestionRouter, TemporalMoE
from gaussian_moe.backend import fused
from gaussian_moe.kernels import runtime


class NoDouble(TorchDispatchMode):  # type: ignore[no-untyped-call]  # of its metaclass
    """Refuses every operation that gives float64 or complex128, as a device without them does."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.dtype in (torch.float64, torch.complex128):
                raise TypeError(f"{func} gives {leaf.dtype}")
        return result


B, T, D = 3, 9, 16
MASK = torch.arange(T) >= torch.tensor([T, 0, 4]).unsqueeze(-1)
TIMES = torch.arange(T, dtype=torch.float32)
PADDED = {"key_padding_mask": MASK}
TIMED = {"lengths": torch.tensor([T, 0, 4]), "times": TIMES.repeat(B, 1), "duration": torch.full((B,), 10.0)}
Arguments = tuple[tuple[Tensor, ...], dict[str, Any]]


def frames(*leading: int) -> Tensor:
    return torch.randn(*leading, D)


CASES: dict[str, tuple[Callable[..., nn.Module], Callable[[], Arguments]]] = {
    "mask": (lambda **where: TemporalMoE(D, 4, 2, heads=4, **where), lambda: ((frames(B), frames(B, T)), PADDED)),
    "times": (lambda **where: TemporalMoE(D, 4, 4, heads=4, **where), lambda: ((frames(B), frames(B, T)), TIMED)),
    "whole numbers": (
        lambda **where: TemporalMoE(D, 4, 2, heads=4, **where),
        lambda: ((frames(B), frames(B, T)), {**TIMED, "times": TIMES.long().repeat(B, 1)}),
    ),
    "variants": (
        lambda **where: TemporalMoE(D, 4, 2, heads=4, num_gaussians=2, learned_anchors=True, window="box", **where),
        lambda: ((frames(2, B), frames(2, B, T)), {"lengths": torch.tensor([[T, 1, 0], [2, 3, T]])}),
    ),
    "packed": (
        lambda **where: TemporalMoE(D, 4, 2, heads=4, normalization="sum", **where),
        lambda: ((frames(2), frames(T)), {"cu_seqlens": torch.tensor([0, 2, T]), "max_seqlen": T - 2}),
    ),
    "one time for all": (
        lambda **where: TemporalMoE(D, 4, 2, heads=4, **where),
        lambda: ((frames(B), frames(B, T)), {"times": TIMES, "duration": 10}),
    ),
    "streams and questions": (
        lambda **where: TemporalMoE(D, 4, 2, heads=4, num_streams=2, **where),
        lambda: ((frames(B, 12), frames(B, T)), {"streams": frames(B, 2, T), **TIMED}),
    ),
    "router": (lambda **where: QuestionRouter(D, 4, 2, heads=4, **where), lambda: ((frames(B), frames(B, T)), PADDED)),
    "fusion": (
        lambda **where: QuestionFusion(D, heads=4, **where),
        lambda: (
            (frames(B, T), frames(B, T), frames(B, 5)),
            {"audio_padding_mask": MASK, "video_padding_mask": MASK},
        ),
    ),
    "patches": (
        lambda **where: PatchFusion(D, heads=4, **where),
        lambda: ((frames(B, T, 6), frames(B, T), frames(B, T)), {}),
    ),
    "refiner": (lambda **where: ProgressiveRefiner(D, heads=4, **where), lambda: ((frames(B), frames(B, 3)), {})),
}
cases = pytest.mark.parametrize(("build", "arguments"), CASES.values(), ids=CASES)


def floating(results: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(results) if isinstance(leaf, Tensor) and leaf.is_floating_point()]


@cases
def test_everything_stays_on_the_device(build: Callable[..., nn.Module], arguments: Callable[[], Arguments]) -> None:
    layer = build(device="meta")
    given, options = arguments()
    results = layer(
        *(tensor.to("meta").requires_grad_() for tensor in given),
        **{name: value.to("meta") if isinstance(value, Tensor) else value for name, value in options.items()},
    )
    assert floating(results)
    assert all(leaf.is_meta for leaf in tree_leaves(results) if isinstance(leaf, Tensor))
    total = torch.stack([leaf.sum() for leaf in floating(results)]).sum()
    torch.autograd.backward(total)
    assert all(parameter.grad is not None and parameter.grad.is_meta for parameter in layer.parameters())


@cases
def test_nothing_is_in_double_precision(build: Callable[..., nn.Module], arguments: Callable[[], Arguments]) -> None:
    layer = build(backend="torch")
    given, options = arguments()
    with NoDouble():  # type: ignore[no-untyped-call]  # it has no types
        results = layer(*(tensor.requires_grad_() for tensor in given), **options)
        torch.autograd.backward(torch.stack([leaf.sum() for leaf in floating(results)]).sum())


def test_double_precision_would_be_noticed() -> None:
    with NoDouble(), pytest.raises(TypeError, match="float64"):  # type: ignore[no-untyped-call]  # it has no types
        TemporalMoE(D, 4, 2, heads=4, backend="torch")(frames(B).double(), frames(B, T).double())


@pytest.mark.parametrize("device", ["mps", "xpu", "hpu", "privateuseone", "meta"])
def test_other_devices_take_the_torch_path(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "triton_there", lambda: True)
    assert fused("auto", torch.device(device), torch.float32) is False
    why = f"backend='triton': the kernels run on CUDA devices, not on '{device}'; use 'auto' or 'torch'"
    with pytest.raises(ValueError, match=why):
        fused("triton", torch.device(device), torch.float32)
