"""`python -m benchmarks kernels`: the command line, occupancy and roofline by hand, and three kernels of its own.

The command compiles in processes of its own, which import this file as a launcher, so it runs with the interpreter on.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs
# What Triton hands to a kernel has no Python type.

from __future__ import annotations

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from benchmarks import ahead_of_time, kernels
from benchmarks.ahead_of_time import Failure, examine
from benchmarks.errors import UserError
from benchmarks.machine_code import TARGETS, MachineCode, machine_code
from benchmarks.occupancy import occupancy
from benchmarks.roofline import DEVICES, Roofline, Shape, Work, expert_pool_work, gaussian_weights_work, roofline
from gaussian_moe.kernels.compilation import Compilation
from gaussian_moe.kernels.expert_pool.op import expert_pool, expert_pool_backward

triton = pytest.importorskip("triton", reason="compiles Triton kernels")
tl: Any = importlib.import_module("triton.language")

LAUNCHER = "tests.benchmarks.test_kernels_command"


@triton.jit
def product(x_ptr, y_ptr, out_ptr, K, M: tl.constexpr, N: tl.constexpr, STEP: tl.constexpr):
    rows, columns, inner = tl.arange(0, M), tl.arange(0, N), tl.arange(0, STEP)
    total = tl.zeros((M, N), tl.float32)
    for start in range(0, K, STEP):
        x = tl.load(x_ptr + rows[:, None] * K + (start + inner)[None, :])
        y = tl.load(y_ptr + columns[:, None] * K + (start + inner)[None, :])
        total = tl.dot(x, y.T, total)
    tl.store(out_ptr + rows[:, None] * N + columns[None, :], total)


@triton.jit
def impossible(out_ptr):
    tl.static_assert(False, "no device can do this")
    tl.store(out_ptr, 0.0)


def compilations(target: str) -> list[Compilation]:
    """A small product; one whose 65,536 sums have no room in the registers of 4 warps; one that does not compile."""
    tensors = {"x_ptr": "*bf16", "y_ptr": "*bf16", "out_ptr": "*fp32", "K": "i32"}
    signature = tensors | dict.fromkeys(("M", "N", "STEP"), "constexpr")
    return [
        Compilation("product", product, signature, {"M": 64, "N": 64, "STEP": 64}, 4, 2, tuple(tensors)),
        Compilation("big product", product, signature, {"M": 256, "N": 256, "STEP": 64}, 4, 2, tuple(tensors)),
        Compilation("impossible", impossible, {"out_ptr": "*fp32"}, {}, 4, 2),
    ]


Found = dict[tuple[str, str], MachineCode | Failure]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ahead_of_time, "LISTS", (LAUNCHER,))
        if "TRITON_CACHE_DIR" not in os.environ:
            patch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.mktemp("triton")))
        return {(result.name, result.target): result for result in examine(["sm_90", "gfx942"], "", jobs=1)}


def code(found: Found, name: str, target: str) -> MachineCode:
    result = found[name, target]
    assert isinstance(result, MachineCode), result
    return result


@pytest.mark.slow
def test_a_small_product_uses_tensor_cores_and_does_not_spill(found: Found) -> None:
    hopper, cdna = code(found, "product", "sm_90"), code(found, "product", "gfx942")
    # 64 x 64 x 64 is four instructions of 64 x 64 x 16 to one warp group.
    assert hopper.tensor_cores == {"HGMMA.64x64x16.F32.BF16": 4}
    assert not hopper.serialized
    assert list(cdna.tensor_cores) == ["v_mfma_f32_32x32x8_bf16"]
    # Both operands, two stages deep on sm_90 and one on gfx942.
    assert (hopper.shared, cdna.shared) == (2 * 2 * 64 * 64 * 2, 2 * 64 * 64 * 2)
    for result in (hopper, cdna):
        # The accumulator alone takes 64 * 64 registers of the program's threads.
        assert result.registers >= 64 * 64 / (32 * 4 * (1 if result is hopper else 2))
        assert (result.spills, result.scalar_spills, result.warps) == (0, 0, 4)
        assert result.occupancy == occupancy(result.target, 4, result.registers, result.shared)


@pytest.mark.slow
def test_a_kernel_without_room_is_reported_as_spilling(found: Found) -> None:
    hopper, cdna = code(found, "big product", "sm_90"), code(found, "big product", "gfx942")
    assert hopper.registers == 255
    # 256 * 256 sums are 512 registers a thread: at least half of them have to leave.
    assert hopper.spills > 256
    assert hopper.serialized
    assert cdna.registers == 512
    assert cdna.spills > 0


@pytest.mark.slow
def test_a_kernel_that_does_not_compile_says_why(found: Found) -> None:
    for target in ("sm_90", "gfx942"):
        result = found["impossible", target]
        assert isinstance(result, Failure)
        assert "no device can do this" in result.reason


@pytest.mark.slow
def test_the_command_prints_tables_and_writes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], found: Found
) -> None:
    monkeypatch.setattr(
        kernels, "examine", lambda targets, only, jobs, sampled: [found[key] for key in found if only in key[0]]
    )
    out = tmp_path / "new" / "kernels.json"
    args = parse("--target", "sm_90", "gfx942", "--device", "t4", "H200", "--json", str(out))
    assert args.run(args) == 1, "one kernel does not compile"
    printed = capsys.readouterr().out
    line = next(line for line in printed.splitlines() if line.split()[:2] == ["product", "4"])
    assert "4 HGMMA.64x64x16.F32.BF16" in line
    assert "does not compile: " in printed
    assert "(serialized)" in printed
    assert "no bfloat16 on it" in printed
    record = json.loads(out.read_text())
    assert {kernel["name"] for kernel in record["kernels"]} == {"product", "big product", "impossible"}
    assert {row["device"] for row in record["rooflines"]} == {"T4", "H200"}
    args = parse("--target", "sm_90", "--only", "small")
    with pytest.raises(UserError, match="small"):
        args.run(args)
    args = parse("--only", "big")
    assert args.run(args) == 0


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    kernels.add_parser(parser.add_subparsers(required=True))
    return parser.parse_args(["kernels", *arguments])


def test_the_command_line() -> None:
    args = parse()
    assert (args.target, args.device, args.json) == (list(TARGETS), ["H100"], None)
    assert args.shape == Shape(64, 1024, 1024, 8, 2, 512, 1)
    args = parse("--target", "sm_90", "--shape", "2,3,8,4,1,5,2", "--device", "mi300x", "--jobs", "3")
    assert (args.target, args.shape, args.device, args.jobs) == (["sm_90"], Shape(2, 3, 8, 4, 1, 5, 2), ["MI300X"], 3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--target", "sm_91"), "sm_100"),
        (("--device", "V100"), "MI300X"),
        (("--dtype", "int8"), "bfloat16"),
        (("--shape", "1,2,3"), "B,T,D,E,K"),
        (("--shape", "1,2,3,0,0"), "B,T,D,E,K"),
        (("--shape", "1,2,3,4,5"), "5 experts in use of 4"),
        (("--jobs", "0"), "above 0"),
    ],
)
def test_a_wrong_argument_says_what_is_wanted(
    arguments: tuple[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        parse(*arguments)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err


def test_without_triton_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    args = parse()
    with pytest.raises(UserError, match="kernels needs triton"):
        args.run(args)


def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(ValueError, match="sm_91"):
        machine_code(compilations("sm_90")[0], "sm_91")
    interpreted = Compilation("interpreted", object(), {}, {}, 4, 2)
    with pytest.raises(RuntimeError, match="TRITON_INTERPRET"):
        machine_code(interpreted, "sm_90")


@pytest.mark.parametrize(
    ("target", "warps", "registers", "shared", "tensor_memory", "programs", "limited_by"),
    [
        # 512 registers of a lane over 168 are 3 warps in each of 4 partitions.
        ("sm_90", 4, 168, 0, 0, 3, "registers"),
        # 97 registers take 104: 4 warps a partition, where 96 allow 5.
        ("sm_90", 4, 97, 0, 0, 4, "registers"),
        ("sm_90", 4, 96, 0, 0, 5, "registers"),
        # 48 KiB and the system's one KiB, 49 of 228; sm_75 takes no KiB more.
        ("sm_90", 4, 64, 48 << 10, 0, 4, "shared memory"),
        ("sm_80", 4, 64, 48 << 10, 0, 3, "shared memory"),
        ("sm_75", 4, 64, 32 << 10, 0, 2, "shared memory"),
        ("sm_90", 4, 64, 227 << 10, 0, 1, "shared memory"),
        ("sm_90", 4, 64, (227 << 10) + 1, 0, 0, "shared memory"),
        ("sm_100", 4, 64, 0, 256, 2, "tensor memory"),
        ("sm_90", 4, 24, 0, 0, 16, "warps"),
        ("sm_75", 4, 24, 0, 0, 8, "warps"),
        ("sm_90", 1, 24, 0, 0, 32, "programs"),
        # 32 warps of 72 registers want 8 warps in a partition that holds 7.
        ("sm_80", 32, 72, 0, 0, 0, "registers"),
        ("gfx942", 4, 244, 0, 0, 2, "registers"),
        ("gfx942", 4, 92, 16 << 10, 0, 4, "shared memory"),
        # A barrier for each workgroup of more than one wavefront, and there are 16.
        ("gfx942", 2, 32, 0, 0, 16, "warps"),
        ("gfx942", 1, 32, 0, 0, 32, "warps"),
    ],
)
def test_occupancy(
    target: str, warps: int, registers: int, shared: int, tensor_memory: int, programs: int, limited_by: str
) -> None:
    held = occupancy(target, warps, registers, shared, tensor_memory)
    assert (held.programs, held.warps, held.limited_by) == (programs, programs * warps, limited_by)


def test_the_roofline_takes_the_slowest_of_three() -> None:
    h100 = DEVICES["H100"]
    assert roofline(Work("", "bfloat16", 989_500_000, 0, 0), h100) == Roofline(1e-6, "matrix products")
    assert roofline(Work("", "bfloat16", 989_500_000, 134_000_000, 0), h100) == Roofline(2e-6, "other arithmetic")
    assert roofline(Work("", "bfloat16", 989_500_000, 0, 10_050_000), h100) == Roofline(3e-6, "memory")
    assert roofline(Work("", "bfloat16", 1, 0, 0), DEVICES["T4"]) is None


def test_the_forward_at_the_issues_size_is_bound_by_tensor_cores() -> None:
    works = expert_pool_work(Shape(64, 1024, 1024, 8, 2, 512), "bfloat16")
    forward, backward = (next(work for work in works if way in work.op) for way in ("forward", "backward"))
    assert forward.matrix_flops == 2 * 64 * 2 * 1024 * 512 * 1024
    assert backward.matrix_flops == 2 * forward.matrix_flops
    bound = roofline(forward, DEVICES["H100"])
    assert bound is not None
    assert bound.bound == "matrix products"
    assert bound.seconds == pytest.approx(138.9e-6, rel=1e-3)


def test_bytes_are_those_of_the_ops_tensors() -> None:
    size = Shape(B=3, T=5, D=8, E=2, K=2, H=40, S=2)
    B, T, D, E, K, H, S = size.B, size.T, size.D, size.E, size.K, size.H, size.S
    work = {work.op: work.bytes for work in expert_pool_work(size, "float32")}
    with FakeTensorMode():
        frames, weight1, bias1 = torch.empty(B, S, T, D), torch.empty(E, H, D), torch.empty(E, H)
        indices, profile = torch.empty(B, K, dtype=torch.int64), (torch.empty(B, K), torch.empty(B, K))
        given = frames, weight1, bias1, indices
        for form, weights, gaussians in (
            ("gaussian", None, profile),
            ("weights", torch.empty(B, K, T), (None, None)),
        ):
            read = [*given, *(t for t in (weights, *gaussians) if t is not None)]
            state, mass, bits = expert_pool(*given, weights, *gaussians, None, None, None, 0.0, True)
            assert work[f"expert_pool forward ({form})"] == sizes(*read, state, mass)
            assert work[f"expert_pool forward ({form}, bits)"] == sizes(*read, state, mass, bits)
            grads = expert_pool_backward(state, mass, *given, weights, *gaussians, None, None, None, bits, 0.0)
            assert work[f"expert_pool backward ({form})"] == sizes(*read, state, mass, bits, *grads)
    forward, backward = (work.bytes for work in gaussian_weights_work(size))
    assert forward == 4 * (2 * B * K + B * K * T)
    assert backward == 4 * (4 * B * K + B * K * T)


def sizes(*tensors: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
