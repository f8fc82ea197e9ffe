"""A small model around `TemporalMoE`, trained in one process or in the two that torchrun starts: `-m ... pair ROOT`.

B clips of all processes, T frames, D channels.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from gaussian_moe import TemporalMoE

HALF = 3
RESUMED = [("ddp", "fsdp2"), ("fsdp2", "ddp"), ("fsdp2", "one"), ("ddp", "one"), ("fsdp2-parts", "fsdp2")]
"""Who goes on from whose checkpoint."""


class Pooler(nn.Module):
    """A projection, the layer, a head. Two of seven experts a clip: most have no part in a process's batch."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.projection = nn.Linear(12, 16)
        self.moe = TemporalMoE(16, 7, 2, heads=4, dropout=0.0)
        self.head = nn.Linear(16, 5)

    def forward(self, question: Tensor, frames: Tensor, lengths: Tensor) -> Tensor:
        scores: Tensor = self.head(self.moe(question, self.projection(frames), lengths=lengths))
        return scores


class Step(NamedTuple):
    """One batch."""

    question: Tensor  # [B, D]
    frames: Tensor  # [B, T, 12]
    lengths: Tensor  # [B]
    answers: Tensor  # [B]


def steps(dtype: torch.dtype) -> list[Step]:
    """Batches of other lengths each; in one of them the second process has empty clips only."""
    generator = torch.Generator().manual_seed(7)
    found = []
    for number, num_frames in enumerate((9, 1, 17, 5, 33, 2)):
        question = torch.randn(4, 16, generator=generator, dtype=torch.float64).to(dtype)
        frames = torch.randn(4, num_frames, 12, generator=generator, dtype=torch.float64).to(dtype)
        lengths = torch.randint(0, num_frames + 1, (4,), generator=generator)
        if number == 2:
            lengths[1::2] = 0
        found.append(Step(question, frames, lengths, torch.randint(0, 5, (4,), generator=generator)))
    return found


def _optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, batches: list[Step]) -> Iterator[float]:
    """Trains; the loss of each whole batch, of which a process takes every second clip."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    for batch in batches:
        question, frames, lengths, answers = (part[rank::world] for part in batch)
        loss = F.cross_entropy(model(question, frames, lengths), answers)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        total = loss.detach().clone()
        if world > 1:
            dist.all_reduce(total)
        yield float(total) / world


def save(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """By PyTorch's distributed checkpoint, whatever holds the model."""
    model_state, optimizer_state = get_state_dict(model, optimizer)
    state_dict_saver.save({"model": model_state, "optimizer": optimizer_state}, checkpoint_id=folder)


def load(model: nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> None:
    """See `save`."""
    model_state, optimizer_state = get_state_dict(model, optimizer)
    state: dict[str, Any] = {"model": model_state, "optimizer": optimizer_state}
    state_dict_loader.load(state, checkpoint_id=folder)
    set_state_dict(model, optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"])


def wrapped(kind: str, dtype: torch.dtype, seed: int = 3) -> nn.Module:
    """The model alone, or under "ddp", "fsdp2" (the layer is a unit) or "fsdp2-parts" (so are its parts)."""
    # Made in single precision, so that both precisions begin alike.
    model = Pooler(seed).to(dtype)
    if kind == "ddp":
        return DistributedDataParallel(model, find_unused_parameters=False)
    if kind.startswith("fsdp2"):
        if kind == "fsdp2-parts":
            for part in (model.moe.router.attention, model.moe.router, model.moe.experts):
                fully_shard(part)
        fully_shard(model.moe)
        fully_shard(model)
    return model


class Outcome(NamedTuple):
    """What a run comes to."""

    losses: list[float]
    state: dict[str, Tensor]


def run(kind: str, dtype: torch.dtype, root: Path | None = None) -> Outcome:
    """Trains all steps; with `root` it saves in the middle, into root/kind."""
    model = wrapped(kind, dtype)
    optimizer, batches = _optimizer(model), steps(dtype)
    losses = list(trained(model, optimizer, batches[:HALF]))
    if root is not None:
        save(model, optimizer, root / kind)
    losses += trained(model, optimizer, batches[HALF:])
    return Outcome(losses, _whole(model))


def resumed(kind: str, dtype: torch.dtype, folder: Path) -> Outcome:
    """Trains the second half from a checkpoint; begins with other weights."""
    model = wrapped(kind, dtype, seed=99)
    optimizer = _optimizer(model)
    load(model, optimizer, folder)
    return Outcome(list(trained(model, optimizer, steps(dtype)[HALF:])), _whole(model))


def _whole(model: nn.Module) -> dict[str, Tensor]:
    state = {name.removeprefix("module."): tensor.detach() for name, tensor in model.state_dict().items()}
    return {name: each.full_tensor() if isinstance(each, DTensor) else each.clone() for name, each in state.items()}


def main(root: Path) -> None:
    """Runs all; ROOT/one is there already."""
    dist.init_process_group("gloo")
    outcomes = {"ddp-64": run("ddp", torch.float64)}
    for kind in ("ddp", "fsdp2", "fsdp2-parts"):
        outcomes[kind] = run(kind, torch.float32, root)
    for kind, source in (
        ("ddp", "fsdp2"),
        ("fsdp2", "ddp"),
        ("fsdp2", "one"),
        ("ddp", "one"),
        ("fsdp2-parts", "fsdp2"),
    ):
        outcomes[f"{kind} from {source}"] = resumed(kind, torch.float32, root / source)
    if dist.get_rank() == 0:
        torch.save({name: tuple(outcome) for name, outcome in outcomes.items()}, root / "outcomes.pt")
    # A process whose groups are left to the interpreter's end, in cycles, can abort there: threads of gloo still run.
    dist.barrier()
    dist.destroy_process_group()
    gc.collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
