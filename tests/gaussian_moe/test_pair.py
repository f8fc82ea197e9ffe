"""Two processes train the layer as one does, by DDP and FSDP2, and load each other's checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.gaussian_moe.pair import HALF, RESUMED, Outcome, Pooler, resumed, run, steps
from tests.gaussian_moe.support import assert_close
from tests.two_processes import run_pair

# One process for all of them, as for those of the other module of two processes.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("layers in a pair")]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what one process and both have saved."""
    root = tmp_path_factory.mktemp("pair")
    run("one", torch.float32, root)
    run_pair("tests.gaussian_moe.pair", str(root))
    return root


@pytest.fixture(scope="module")
def pair(root: Path) -> dict[str, Outcome]:
    return {name: Outcome(*outcome) for name, outcome in torch.load(root / "outcomes.pt", weights_only=True).items()}


@pytest.fixture(scope="module")
def alone() -> Outcome:
    """One process in float64."""
    return run("one", torch.float64)


def assert_same(got: Outcome, wanted: Outcome, tolerance: float) -> None:
    assert got.losses == pytest.approx(wanted.losses[-len(got.losses) :], rel=0, abs=tolerance)
    assert list(got.state) == list(wanted.state)
    for name, tensor in got.state.items():
        assert_close(tensor.double(), wanted.state[name], tolerance, name)


def test_ddp_to_the_last_digits(pair: dict[str, Outcome], alone: Outcome) -> None:
    """In float64, so that a clip too many or too few cannot hide in the rounding."""
    assert_same(pair["ddp-64"], alone, 1e-12)


@pytest.mark.parametrize("kind", ["ddp", "fsdp2", "fsdp2-parts"])
def test_single_precision(kind: str, pair: dict[str, Outcome], alone: Outcome) -> None:
    assert_same(pair[kind], alone, 1e-5)


@pytest.mark.parametrize(("kind", "source"), RESUMED)
def test_a_pair_goes_on_from_anothers_checkpoint(
    kind: str, source: str, pair: dict[str, Outcome], alone: Outcome
) -> None:
    outcome = pair[f"{kind} from {source}"]
    assert len(outcome.losses) == len(alone.losses) - HALF
    assert_same(outcome, alone, 1e-5)


@pytest.mark.parametrize("source", ["ddp", "fsdp2", "fsdp2-parts", "one"])
def test_one_process_goes_on_from_a_pairs_checkpoint(source: str, root: Path, alone: Outcome) -> None:
    assert_same(resumed("one", torch.float32, root / source), alone, 1e-5)


def test_processes_leave_different_experts_unused() -> None:
    """What the runs above are to show: DDP does not wait for them, as every bank has a gradient, zero where unused."""
    model = Pooler(seed=3).double()
    used: list[list[list[bool]]] = []
    for batch in steps(torch.float64):
        used.append([])
        for rank in (0, 1):
            question, frames, lengths, _ = (part[rank::2] for part in batch)
            weight = model.moe.experts.weight1
            (gradient,) = torch.autograd.grad(model(question, frames, lengths).pow(3).sum(), weight)
            used[-1].append(gradient.flatten(1).any(1).tolist())
    assert not any(all(experts) for step in used for experts in step)
    assert sum(first != second for first, second in used) > 2


def test_training_changed_something(alone: Outcome) -> None:
    fresh = Pooler(seed=3).double().state_dict()
    assert all(not torch.equal(tensor, fresh[name]) for name, tensor in alone.state.items() if "norms" not in name)
