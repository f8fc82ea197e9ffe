"""State dicts stay: names, shapes, versions, and what an old file computes."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gaussian_moe
from gaussian_moe import TemporalMoE
from gaussian_moe._state import VersionedModule
from gaussian_moe.attention import Attention
from tests.gaussian_moe.support import assert_close, small_moe

ATTENTION: dict[str, list[int]] = {
    "in_proj_weight": [48, 16],
    "in_proj_bias": [48],
    "out_proj.weight": [16, 16],
    "out_proj.bias": [16],
}
EXPERTS: dict[str, list[int]] = {"weight1": [3, 8, 16], "bias1": [3, 8], "weight2": [3, 16, 8], "bias2": [3, 16]}
MLP: dict[str, list[int]] = {"mlp.0.weight": [8, 16], "mlp.0.bias": [8], "mlp.2.weight": [16, 8], "mlp.2.bias": [16]}


def linear(name: str, outputs: int) -> dict[str, list[int]]:
    return {f"{name}.weight": [outputs, 16], f"{name}.bias": [outputs]}


def norm(name: str) -> dict[str, list[int]]:
    return {f"{name}.weight": [16], f"{name}.bias": [16]}


def under(prefix: str, names: dict[str, list[int]]) -> dict[str, list[int]]:
    return {f"{prefix}.{name}": shape for name, shape in names.items()}


ROUTER = {**under("attention", ATTENTION), **linear("gate", 3), **linear("gaussian", 6)}
FROZEN: dict[str, tuple[Callable[[], nn.Module], dict[str, list[int]]]] = {
    "Attention": (lambda: Attention(16, 4), ATTENTION),
    "GaussianExpert": (lambda: gaussian_moe.GaussianExpert(16, num_experts=3), EXPERTS),
    "QuestionRouter": (lambda: gaussian_moe.QuestionRouter(16, 3, 2, heads=4), ROUTER),
    "TemporalMoE": (
        lambda: TemporalMoE(16, 3, 2, heads=4, num_streams=2),
        {**under("router", ROUTER), **under("experts", EXPERTS), **norm("norms.0"), **norm("norms.1")},
    ),
    "QuestionFusion": (
        lambda: gaussian_moe.QuestionFusion(16, heads=4),
        {
            **under("self_attention", ATTENTION),
            **under("cross_attention", ATTENTION),
            **under("question_attention", ATTENTION),
            **linear("linear1", 16),
            **linear("linear2", 16),
            **norm("norm1"),
            **norm("norm2"),
        },
    ),
    "PatchFusion": (
        lambda: gaussian_moe.PatchFusion(16, heads=4),
        {
            **under("self_attention", ATTENTION),
            **under("cross_attention", ATTENTION),
            **MLP,
            **norm("audio_norm"),
            **norm("video_norm"),
        },
    ),
    "ProgressiveRefiner": (
        lambda: gaussian_moe.ProgressiveRefiner(16, heads=4),
        {**under("attention", ATTENTION), **MLP, **norm("norm")},
    ),
}
frozen = pytest.mark.parametrize(("build", "names"), FROZEN.values(), ids=FROZEN)


@frozen
def test_names_and_shapes(build: Callable[[], nn.Module], names: dict[str, list[int]]) -> None:
    assert {name: list(tensor.shape) for name, tensor in build().state_dict().items()} == names


def test_every_layer_is_frozen() -> None:
    layers = {
        name
        for name in gaussian_moe.__all__
        if isinstance(layer := getattr(gaussian_moe, name), type) and issubclass(layer, nn.Module)
    }
    assert layers | {"Attention"} == set(FROZEN)


@frozen
def test_a_newer_version_is_refused(build: Callable[[], nn.Module], names: dict[str, list[int]]) -> None:
    layer = build()
    assert isinstance(layer, VersionedModule)
    file = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(layer), "_version", 2)
        torch.save(layer.state_dict(), file)
        layer.load_state_dict(torch.load(io.BytesIO(file.getvalue()), weights_only=True))
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    why = rf"holds {type(layer).__name__} of version 2, and gaussian-moe {gaussian_moe.__version__} knows .* up to 1"
    with pytest.raises(ValueError, match=why):
        build().load_state_dict(state)
    # As one part of somebody's model.
    inside = OrderedDict((f"pool.{name}", tensor) for name, tensor in state.items())
    inside._metadata = {f"pool.{name}".rstrip("."): value for name, value in state._metadata.items()}  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"\(pool\) of version 2.*update gaussian-moe"):
        nn.ModuleDict({"pool": build()}).load_state_dict(inside)


def test_a_part_that_is_newer_is_named() -> None:
    moe = small_moe()
    state = moe.state_dict()
    state._metadata["router.attention"]["version"] = 9  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"Attention \(router\.attention\) of version 9"):
        moe.load_state_dict(state)


def test_a_plain_dictionary_loads() -> None:
    moe = small_moe()
    moe.load_state_dict(dict(moe.state_dict()))


def test_a_newer_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gaussian_moe.hub import TemporalMoE as Saved

    with monkeypatch.context() as patch:
        patch.setattr(gaussian_moe.GaussianExpert, "_version", 3)
        Saved(16, 3, 2, heads=4).save_pretrained(tmp_path)
        Saved.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"GaussianExpert \(experts\) of version 3.*update gaussian-moe"):
        Saved.from_pretrained(tmp_path)


FILES = sorted((Path(__file__).parent / "states").glob("temporal_moe_v*.npz"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_saved_state_computes_what_it_did(file: Path) -> None:
    groups: dict[str, dict[str, Tensor]] = {}
    with np.load(file) as saved:
        meta: dict[str, Any] = json.loads(str(saved["meta"]))
        for key in set(saved.files) - {"meta"}:
            group, _, name = key.partition(".")
            groups.setdefault(group, {})[name] = torch.from_numpy(saved[key])
    state = OrderedDict((name, tensor.double()) for name, tensor in groups["state"].items())
    state._metadata = {name: {"version": version} for name, version in meta["versions"].items()}  # type: ignore[attr-defined]
    for backend in ("auto", "torch"):
        moe = TemporalMoE(**meta["arguments"], backend=backend, dtype=torch.float64).eval()
        moe.load_state_dict(state)
        given = {name: each.double() if each.is_floating_point() else each for name, each in groups["in"].items()}
        pooled, routing = moe(given.pop("question"), given.pop("frames"), **given, return_routing=True)
        assert torch.equal(routing.indices, groups["out"]["indices"])
        assert_close(pooled, groups["out"]["pooled"])
        for name in ("gates", "centers", "stds", "logits", "weights"):
            assert_close(getattr(routing, name), groups["out"][name], what=name)


def test_there_are_saved_states() -> None:
    assert [file.name for file in FILES] == ["temporal_moe_v1.npz"]
