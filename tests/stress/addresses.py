"""The kernels on tensors of more than 2^31 elements: `TRITON_INTERPRET=1 python -m tests.stress.addresses AMOUNT`.

Every case runs in a child of its own, since a wrong address ends the process. Results are compared to the last bit
with those of the same numbers in little memory. Prints what was tried and what failed as JSON.

B batch, S streams, G routed experts of one clip, T frames, D channels, H hidden, E experts.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from gaussian_moe.kernels.expert_pool import configs, kernel, kernel_backward, launch
from gaussian_moe.kernels.gaussian_weights import kernel as weights_kernel
from gaussian_moe.kernels.gaussian_weights import launch as weights_launch
from tests.kernels.pool_cases import Case, case

from .vast import Last, spread, vast, vast_memory

MANY = 2**26 + 1
# Its arguments are passed as one row, which type checkers do not follow through two of them.
pool_backward: Callable[..., Any] = launch.pool_backward


def same(name: str, got: Tensor | None, wanted: Tensor | None) -> None:
    """Equal bits."""
    assert (got is None) == (wanted is None), name
    if got is not None and wanted is not None:
        assert torch.equal(got, wanted), f"{name}: {(got - wanted).abs().max():.3g} apart"


def strided(name: str, dim: int, form: str = "even", given: bool = True) -> Callable[[], None]:
    """One argument whose elements along one dimension lie far apart: both passes."""

    def run() -> None:
        S = 2 if (name, dim) == ("frames", 1) else 1
        small = case(form, given, S=S).to(torch.float32)
        large = small._replace(**{name: spread(getattr(small, name), dim)})
        grads = torch.randn(2, S, 2, 33), torch.randn(2, 2)
        results = []
        for one in (small, large):
            state, mass, bits = launch.pool_forward(*one, 0.0, True)
            results.append((state, mass, bits, *pool_backward(*grads, *one, bits, 0.0)))
        for place, (wanted, got) in enumerate(zip(*results, strict=True)):
            same(f"result {place}", got, wanted)

    return run


def _clips(count: int) -> Case:
    """Clips of 16 frames, all zero but the last."""
    small = case("even", False, B=1, T=16, D=17, H=33, G=1, E=2).to(torch.float32)
    assert small.centers is not None
    assert small.stds is not None
    if count == 1:
        return small
    large = {}
    for name in ("frames", "indices", "centers", "stds"):
        value: Tensor = getattr(small, name)
        large[name] = vast(count, *value.shape[1:], dtype=value.dtype)
        large[name][-1] = value[0]
    return small._replace(**large)


def many_clips() -> None:
    """Offsets of frames, states and bits past 2^31, in the forward pass and in both kernels of the backward pass."""
    torch.manual_seed(0)
    small = _clips(1)
    torch.manual_seed(0)
    large = _clips(MANY)
    upstream = torch.randn(1, 1, 1, 33)
    wanted = launch.pool_forward(*small, 0.0, True)
    back = pool_backward(upstream, torch.ones(1, 1), *small, wanted[2], 0.0)
    hidden, channels = configs.blocks(33, 32), configs.blocks(17, 16)
    grad = vast(MANY, 1, 1, 33)
    mass = vast(MANY, 1)
    grad[-1], mass[-1] = upstream, 1.0
    with (
        vast_memory(),
        patch.object(weights_kernel, "windows_kernel", Last(weights_kernel.windows_kernel)),
        patch.object(weights_kernel, "weights_forward_kernel", Last(weights_kernel.weights_forward_kernel)),
        patch.object(weights_kernel, "weights_backward_kernel", Last(weights_kernel.weights_backward_kernel)),
        patch.object(kernel, "pool_forward_kernel", Last(kernel.pool_forward_kernel, hidden)),
        patch.object(kernel_backward, "route_kernel", Last(kernel_backward.route_kernel, 0)),
        patch.object(kernel_backward, "backward_frames_kernel", Last(kernel_backward.backward_frames_kernel, channels)),
        patch.object(kernel_backward, "backward_weights_kernel", Last(kernel_backward.backward_weights_kernel)),
        patch.object(kernel_backward, "backward_experts_kernel", Last(kernel_backward.backward_experts_kernel, 0)),
        patch.object(launch, "_route", _only_masks),
    ):
        state, total, bits = launch.pool_forward(*large, 0.0, True)
        found = pool_backward(grad, mass, *large, bits, 0.0)
    for name, got, value in (
        ("state", state, wanted[0]),
        ("mass", total, wanted[1]),
        ("bits", bits, wanted[2]),
        ("frames", found[0], back[0]),
        ("centers", found[4], back[4]),
        ("stds", found[5], back[5]),
    ):
        assert got is not None
        assert value is not None
        same(name, got[-1], value[0])


def _only_masks(indices: Tensor, num_experts: int) -> tuple[Tensor, Tensor, Tensor]:
    bits = torch.tensor([1 << j for j in range(31)] + [-(2**31)], dtype=torch.int32)
    return torch.zeros(1, dtype=torch.int32), torch.zeros(2, dtype=torch.int32), bits


def many_weights() -> None:
    """[B, G, T] of more than 2^31 weights and their gradients."""
    count, frames = 2**27 + 1, 17
    center, std, grad = torch.tensor([[0.4]]), torch.tensor([[0.1]]), torch.randn(1, 1, frames)
    wanted = weights_launch.weights_forward(center, std, None, None, None, frames)
    back = weights_launch.weights_backward(grad, center, std, None, None, None)
    centers, stds, grads = vast(count, 1), vast(count, 1), vast(count, 1, frames)
    centers[-1], stds[-1], grads[-1] = 0.4, 0.1, grad[0]
    with (
        vast_memory(),
        patch.object(weights_kernel, "weights_forward_kernel", Last(weights_kernel.weights_forward_kernel)),
        patch.object(weights_kernel, "weights_backward_kernel", Last(weights_kernel.weights_backward_kernel)),
    ):
        got = weights_launch.weights_forward(centers, stds, None, None, None, frames)
        found = weights_launch.weights_backward(grads, centers, stds, None, None, None)
    same("weights", got[-1], wanted[0])
    for name, x, value in zip(("centers", "stds"), found, back, strict=True):
        same(name, x[-1], value[0])


def many_experts() -> None:
    """W1 and its gradient past 2^31 elements."""
    E, H, D = 2**17, 128, 129
    small = case("even", True, B=2, G=1, T=20, D=D, H=H, E=1).to(torch.float32)
    grads = torch.randn(2, 1, 1, H), torch.randn(2, 1)
    bits = launch.pool_forward(*small, 0.0, True)[2]
    wanted = pool_backward(*grads, *small, bits, 0.0)
    weight1, bias1 = vast(E, H, D), vast(E, H)
    weight1[-1], bias1[-1] = small.weight1[0], small.bias1[0]
    large = small._replace(weight1=weight1, bias1=bias1, indices=torch.full((2, 1), E - 1))
    programs = configs.blocks(H, 32) * configs.blocks(D, 16)
    with (
        vast_memory(),
        patch.object(kernel_backward, "route_kernel", Last(kernel_backward.route_kernel)),
        patch.object(
            kernel_backward, "backward_experts_kernel", Last(kernel_backward.backward_experts_kernel, programs)
        ),
    ):
        again = launch.pool_forward(*large, 0.0, True)[2]
        found = pool_backward(*grads, *large, again, 0.0)
    same("bits", again, bits)
    same("frames", found[0], wanted[0])
    same("W1", found[1][-1], wanted[1][0])
    same("b1", found[2][-1], wanted[2][0])


CHUNKS, LONG = 4096, 2**24
"""Their product with a sixteenth of the frames, the blocks, goes past 2^31."""


def _long() -> tuple[Case, Case]:
    """Some frames at the end of a long clip of zeros that count, and those alone."""
    small = case("even", True, B=1, G=1, T=64, D=4, H=4, E=1).to(torch.float32)
    assert small.weights is not None
    frames, weights = vast(1, 1, LONG, 4), vast(1, 1, LONG)
    frames[:, :, -64:], weights[:, :, -64:] = small.frames, small.weights
    return small, small._replace(frames=frames, weights=weights)


def many_chunks_forward() -> None:
    """The last chunk of very many of a very long clip ends where the clip does."""
    small, large = _long()
    wanted = launch.pool_forward(*small, 0.0, False)
    with (
        vast_memory(),
        patch.object(configs, "shares", lambda *_: CHUNKS),
        patch.object(kernel, "pool_forward_kernel", Last(kernel.pool_forward_kernel)),
    ):
        state, mass, _ = launch.pool_forward(*large, 0.0, False)
    torch.testing.assert_close(state, wanted[0])
    torch.testing.assert_close(mass, wanted[1])


def many_chunks_backward() -> None:
    """The same for the gradient of W1."""
    small, large = _long()
    bits = launch.pool_forward(*small, 0.0, True)[2]
    grads = torch.randn(1, 1, 1, 4), torch.zeros(1, 1)
    wanted = pool_backward(*grads, *small, bits, 0.0)
    all_bits = vast(1, 1, 1, LONG, 1, dtype=torch.int32)
    all_bits[:, :, :, -64:] = bits
    nothing: dict[str, Any] = {
        name: Last(getattr(kernel_backward, name), 0) for name in ("backward_frames_kernel", "backward_weights_kernel")
    }
    with (
        vast_memory(),
        patch.object(configs, "shares", lambda *_: CHUNKS),
        patch.object(launch, "_SPLITS", CHUNKS),
        patch.multiple(kernel_backward, **nothing),
        patch.object(kernel_backward, "backward_experts_kernel", Last(kernel_backward.backward_experts_kernel)),
    ):
        found = pool_backward(*grads, *large, all_bits, 0.0)
    torch.testing.assert_close(found[1], wanted[1])


# First those where what is added after each block of channels or units does not go into 32 bits.
STRIDED = (
    ("frames", 3, "even"),
    ("weight1", 1, "even"),
    *(("frames", dim, "even") for dim in range(3)),
    ("weight1", 0, "even"),
    ("weight1", 2, "even"),
    *(("weights", dim, "even") for dim in range(3)),
    ("padding", 0, "times-padding"),
)
CASES: dict[str, Callable[[], None]] = {
    **{f"{name} far apart along dimension {dim}": strided(name, dim, form) for name, dim, form in STRIDED},
    "times far apart along dimension 0": strided("times", 0, "times-padding", given=False),
    "the last of many clips": many_clips,
    "the last of many weights": many_weights,
    "the last of many experts": many_experts,
    "the last of many chunks, forward": many_chunks_forward,
    "the last of many chunks, backward": many_chunks_backward,
}


def in_a_child(run: Callable[[], None]) -> str:
    """What is wrong, or ""."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            run()
        except BaseException as error:  # the child must not go on as its parent
            where = traceback.extract_tb(error.__traceback__)[-1]
            os.write(write, f"{type(error).__name__}: {str(error)[:300]} ({where.name}, line {where.lineno})".encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as told:
        text = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return text or (f"ended by signal {-status}" if status else "")


def main() -> None:
    """Runs the first AMOUNT cases."""
    amount = int(sys.argv[1])
    torch.set_num_threads(1)
    chosen = list(CASES.items())[:amount]
    failures = []
    for place, (name, run) in enumerate(chosen, start=1):
        torch.manual_seed(713)
        if problem := in_a_child(run):
            failures.append(f"{name}: {problem}")
        print(f"{place} done", file=sys.stderr, flush=True)
    print(json.dumps({"tried": len(chosen), "failures": failures}))


if __name__ == "__main__":
    main()
