"""A plain PyTorch loop that writes a router's statistics and two figures to TensorBoard.

python -m examples.logging.plain --out runs/logging/plain
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter

from gaussian_moe import load_balance_loss, router_z_loss, routing_statistics
from gaussian_moe.plot import plot_history, plot_timeline

from .task import Model, sample


def train(out: Path, steps: int = 200, log_every: int = 10) -> float:
    """Trains, logs to `out`, and returns the accuracy on new clips."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = Model()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    history = []
    with SummaryWriter(out) as writer:
        for step in range(steps):
            batch = sample(64, generator)
            logits, routing = model(batch)
            answers = F.cross_entropy(logits, batch.answer)
            balance, size = (loss(routing, lengths=batch.lengths) for loss in (load_balance_loss, router_z_loss))
            optimizer.zero_grad()
            (answers + 0.01 * balance + 0.001 * size).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            # Kept at every step: a few numbers on the device. Only writing them waits for it.
            history.append(routing_statistics(routing, lengths=batch.lengths))
            if step % log_every == 0:
                scalars = history[-1].as_dict() | {"loss/answers": answers, "loss/balance": balance, "loss/z": size}
                for name, value in scalars.items():
                    writer.add_scalar(name, value.detach(), step)
        model.eval()
        with torch.no_grad():
            batch = sample(1000, generator)
            logits, routing = model(batch)
        figures = {
            "routing/timeline": plot_timeline(routing, 0, lengths=batch.lengths, truth=batch.truth[0].tolist()),
            "routing/history": plot_history(history),
        }
        for name, figure in figures.items():
            writer.add_figure(name, figure, steps)
    return float((logits.argmax(-1) == batch.answer).float().mean())


def main(arguments: list[str] | None = None) -> None:
    """Reads the command line, trains, and says how well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/logging/plain"), help="where TensorBoard's files go")
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args(arguments)
    print(f"{train(given.out, given.steps):.1%} of the answers are right; tensorboard --logdir {given.out}")


if __name__ == "__main__":
    main()
