"""The layers against the published ones: outputs and every gradient, from golden/ (see its README)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from examples.avqa.checkpoint import from_released
from gaussian_moe import PatchFusion, ProgressiveRefiner, QuestionFusion, TemporalMoE
from tests.gaussian_moe.support import Golden, assert_close, golden

Run = Callable[[nn.Module, dict[str, Tensor]], dict[str, Tensor]]
FLOAT32_ERROR = 2e-5
"""Largest error of float32 against float64 that is allowed, of a tensor's scale: 300 roundings of 6e-8."""
MIXTURES = [f"temporal_moe_k{k}_t{t}" for k in (3, 7) for t in (17, 60)]
STREAMS = [f"temporal_moe_two_streams_k{k}" for k in (3, 7)]
FILES = [*MIXTURES, *STREAMS, "question_fusion", "patch_selector", "question_grounding"]


def fuse(layer: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    audio, video = layer(x["audio"], x["video"], x["words"])
    return {"audio": audio, "video": video}


def read_patches(layer: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    audio, video = layer(x["patch"], x["audio"], x["video"])
    return {"audio": audio, "video": video}


def refine(layer: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    first = layer(x["question"], x["visual"])
    second = layer(x["question"], torch.cat((first.unsqueeze(1), x["audio"]), dim=1))
    return {"first": first, "second": second}


def pool(layer: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"pooled": layer(x["question"], x["sequence"]).unsqueeze(1)}


def pool_streams(layer: nn.Module, x: dict[str, Tensor]) -> dict[str, Tensor]:
    result = layer(x["question"], x["sequence"], streams=(x["audio_patch"], x["video_patch"]))
    return {"audio": result[:, :1], "video": result[:, 1:]}


def built(name: str, file: Golden, released: bool = False) -> tuple[nn.Module, Run, str, str]:
    """The layer, how it is called, its name in the published model and its name in ours."""
    dim, heads = file.meta["dim"], file.meta["heads"]
    if name == "question_fusion":
        return QuestionFusion(dim, heads), fuse, "crs_attn.", "fusion."
    if name == "patch_selector":
        return PatchFusion(dim, heads), read_patches, "patch_selecter.", "patch_fusion."
    if name == "question_grounding":
        return ProgressiveRefiner(dim, heads), refine, "quest_grounding.", "refiner."
    two = name in STREAMS
    layer = TemporalMoE(
        dim,
        file.meta["num_experts"],
        file.meta["top_k"],
        heads,
        num_streams=2 if two else 0,
        released_expert_order=released,
    )
    if two:
        return layer, pool_streams, "vt_aggregator.", "visual_moe."
    return layer, pool, "at_aggregator.", "audio_moe."


def ours(tensors: dict[str, Tensor], theirs: str, prefix: str) -> dict[str, Tensor]:
    """Tensors under a published layer's names, under our layer's names."""
    renamed, _ = from_released({theirs + name: tensor for name, tensor in tensors.items()})
    return {name.removeprefix(prefix): tensor for name, tensor in renamed.items()}


@pytest.mark.parametrize(
    ("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, FLOAT32_ERROR)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("name", FILES)
def test_outputs_and_gradients_are_the_published_ones(name: str, dtype: torch.dtype, error: float) -> None:
    file = golden(name)
    layer, run, theirs, prefix = built(name, file)
    layer.load_state_dict(ours(file.state, theirs, prefix))
    layer = layer.to(dtype).eval()
    inputs = {key: value.to(dtype).requires_grad_() for key, value in file.inputs.items()}
    outputs = run(layer, inputs)
    assert outputs.keys() == file.outputs.keys()
    torch.autograd.backward(list(outputs.values()), [file.cotangents[key].to(dtype) for key in outputs])
    for key, output in outputs.items():
        assert_close(output.double(), file.outputs[key], error, key)
    for key, leaf in inputs.items():
        assert leaf.grad is not None
        assert_close(leaf.grad.double(), file.grad_inputs[key], error, key)
    wanted = ours(file.grad_state, theirs, prefix)
    parameters = dict(layer.named_parameters())
    assert parameters.keys() == wanted.keys()
    for key, parameter in parameters.items():
        assert parameter.grad is not None
        assert_close(parameter.grad.double(), wanted[key], error, key)


@pytest.mark.parametrize("name", FILES)
def test_released_expert_order_gives_the_published_batched_output(name: str) -> None:
    file = golden(name)
    layer, run, theirs, prefix = built(name, file, released=True)
    layer.load_state_dict(ours(file.state, theirs, prefix))
    outputs = run(layer.double().eval(), file.inputs)
    for key, output in outputs.items():
        assert_close(output, file.released[key], 1e-9, key)


@pytest.mark.parametrize("name", [*MIXTURES, *STREAMS])
def test_published_batched_output_is_another_result(name: str) -> None:
    """Otherwise the test above could not tell the two modes apart."""
    file = golden(name)
    difference = max(float((file.outputs[key] - file.released[key]).abs().max()) for key in file.outputs)
    assert difference > 0.1
