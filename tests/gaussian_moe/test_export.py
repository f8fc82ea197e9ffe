"""Programs that leave Python, torch.export and ONNX files in onnxruntime: one for every batch and length."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaussian_moe import TemporalMoE
from gaussian_moe._order import descending
from tests.gaussian_moe.support import assert_close, small_moe, stirred, tensors

SIZES = [(3, 9), (1, 1), (2, 2), (5, 60), (4, 131)]  # clips, frames
# PyTorch 2.7 takes a size without an upper bound for one that is not the largest integer, and refuses.
LIMIT: dict[str, int] = {} if torch.__version__ >= "2.8" else {"max": 2**20}
B, T = torch.export.Dim("B", **LIMIT), torch.export.Dim("T", **LIMIT)
SHAPES = {
    "question": {0: B},
    "frames": {0: B, 1: T},
    "streams": {0: B, 2: T},
    "lengths": {0: B},
    "times": {0: B, 1: T},
    "duration": {0: B},
}


def inputs(names: list[str], clips: int, num_frames: int) -> dict[str, Tensor]:
    every = {
        "question": torch.randn(clips, 16),
        "frames": torch.randn(clips, num_frames, 16),
        "streams": torch.randn(clips, 2, num_frames, 16),
        "lengths": torch.randint(0, num_frames + 1, (clips,)),
        "times": 30 * torch.rand(clips, num_frames).sort().values,
        "duration": 30 + 30 * torch.rand(clips),
    }
    return {name: every[name] for name in names}


def widened(given: dict[str, Tensor]) -> tuple[Tensor, ...]:
    return tuple(tensor.double() if tensor.is_floating_point() else tensor for tensor in given.values())


class Layer(nn.Module):
    """Programs take the optional arguments that they were traced with."""

    def __init__(self, moe: TemporalMoE) -> None:
        super().__init__()
        self.moe = moe


class Padded(Layer):
    """One question a clip, and lengths."""

    def forward(self, question: Tensor, frames: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        return (self.moe(question, frames, lengths=lengths),)


class Everything(Layer):
    """Streams, padding, times, and the routing, which holds the weights over time."""

    def forward(
        self, question: Tensor, frames: Tensor, streams: Tensor, lengths: Tensor, times: Tensor, duration: Tensor
    ) -> tuple[Tensor, ...]:
        pooled, routing = self.moe(
            question, frames, streams=streams, lengths=lengths, times=times, duration=duration, return_routing=True
        )
        return (pooled, *tensors(routing))


CASES: list[tuple[type[Layer], list[str]]] = [
    (Padded, ["question", "frames", "lengths"]),
    (Everything, list(SHAPES)),
]
cases = pytest.mark.parametrize(("layer", "names"), CASES, ids=[layer.__name__ for layer, _ in CASES])


def exported(layer: Layer, names: list[str], example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    return torch.export.export(layer, example, dynamic_shapes={name: SHAPES[name] for name in names})


@pytest.mark.parametrize("top_k", [1, pytest.param(7, marks=pytest.mark.slow)])
def test_one_program_of_aten_operations(top_k: int) -> None:
    names = list(SHAPES)
    layer = Everything(small_moe(top_k=top_k, num_streams=2)).eval().double()
    program = exported(layer, names, widened(inputs(names, 3, 9)))
    operators = [node.target for node in program.graph.nodes if isinstance(node.target, torch._ops.OpOverload)]
    assert {operator.namespace for operator in operators} == {"aten"}
    run = program.module()
    for sizes in SIZES:
        given = widened(inputs(names, *sizes))
        for got, wanted in zip(run(*given), layer(*given), strict=True):
            assert_close(got, wanted)


VARIANTS: list[dict[str, Any]] = [
    {"window": "box", "normalization": "none", "activation": "silu"},
    {"normalization": "sum", "num_gaussians": 2, "learned_anchors": True},
]


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_programs_of_variants(variant: dict[str, Any]) -> None:
    names = ["question", "frames", "lengths"]
    layer = Padded(stirred(TemporalMoE(16, 7, 3, heads=4, **variant))).eval().double()
    run = exported(layer, names, widened(inputs(names, 3, 9))).module()
    for sizes in SIZES:
        given = widened(inputs(names, *sizes))
        assert_close(run(*given)[0], layer(*given)[0])


def test_experts_are_ordered_alike_in_exported_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal scores too."""
    scores = torch.randint(0, 4, (3, 50, 7)) / 8
    wanted = descending(scores)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    for got, same in zip(descending(scores), wanted, strict=True):
        assert torch.equal(got, same)
    assert (wanted[0][..., 1:] == wanted[0][..., :-1]).any()


@pytest.mark.slow
@cases
def test_onnx_in_onnxruntime(layer: type[Layer], names: list[str], tmp_path: Path) -> None:
    """In float32, as accurate as the torch path is: both are judged against float64."""
    import onnx
    import onnxruntime

    small = stirred(TemporalMoE(16, 7, 3, heads=4, num_streams=2 if "streams" in names else 0, backend="torch"))
    with torch.no_grad():
        for parameter in small.router.gate.parameters():
            # Two experts that always score alike.
            parameter[4] = parameter[1]
    moe, exact = layer(small).eval(), layer(copy.deepcopy(small).double()).eval()
    program = torch.onnx.export(exported(moe, names, tuple(inputs(names, 3, 9).values())), dynamo=True, verbose=False)
    assert program is not None
    file = tmp_path / "moe.onnx"
    program.save(file)
    graph = onnx.load(file)
    onnx.checker.check_model(graph)
    assert {opset.domain for opset in graph.opset_import} == {""}
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_inputs()] == names
    errors = []
    for sizes in SIZES:
        given = inputs(names, *sizes)
        results = session.run(None, {name: tensor.numpy() for name, tensor in given.items()})
        with torch.no_grad():
            eager, wanted = moe(*given.values()), exact(*widened(given))
        triples = zip(map(torch.from_numpy, results), eager, wanted, strict=True)
        errors.append([[float((found - true).abs().max()) for found in (got, ours)] for got, ours, true in triples])
    # [outputs, of onnxruntime and of eager], the largest over all sizes: that of one is a matter of luck.
    worst = torch.tensor(errors).amax(0)
    assert (worst[:, 0] <= 4 * worst[:, 1].clamp(min=torch.finfo(torch.float32).eps)).all(), worst
