"""`python -m benchmarks run`: the whole layer against the published computation, side by side in one process."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gaussian_moe import TemporalMoE

from .measure import flops, timings
from .published import PublishedMoE

# (B, T, D, E, K): the paper's sizes, more experts than are used, long clips.
SIZES = ((32, 60, 512, 7, 7), (32, 60, 512, 10, 3), (8, 512, 512, 8, 2))
ERROR_BOUND = 1e-4
"""Largest error against float64, relative to the result's largest value; the layer ends in a LayerNorm."""


def main() -> int:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True)
    run = commands.add_parser("run", help="measure forward, and forward and backward, in float32")
    run.add_argument("--out", type=Path, help="also write the results to this JSON file")
    out: Path | None = parser.parse_args().out
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = [measure(size, device) for size in SIZES]
    print(f"{'B, T, D, E, K':>22}  {'forward':>9}  {'both':>9}  {'FLOPs':>6}   (times: published over ours)")
    for row in rows:
        size = ", ".join(map(str, row["size"]))
        if "error" in row:
            print(f"{size:>22}  no number: {row['error']}")
        else:
            print(f"{size:>22}  {row['forward_ratio']:8.2f}x  {row['both_ratio']:8.2f}x  {row['flops_ratio']:6.2f}")
    if out is not None:
        record = {
            "device": _device(device),
            "torch": torch.__version__,
            "date": datetime.now(timezone.utc).date().isoformat(),
        }
        temporary = out.with_suffix(".tmp")
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(record | {"rows": rows}, indent=1), encoding="utf-8")
        temporary.replace(out)
    return 1 if any("error" in row for row in rows) else 0


def measure(size: tuple[int, int, int, int, int], device: str) -> dict[str, Any]:
    """One row; a result that disagrees with float64 gets an error in place of numbers."""
    B, T, D, E, K = size
    torch.manual_seed(0)
    layer = TemporalMoE(D, E, K, dropout=0.0, device=device)
    published = PublishedMoE(layer)
    question, frames = torch.randn(B, D, device=device), torch.randn(B, T, D, device=device)
    for name, model in (("layer", layer), ("published computation", published)):
        if fault := _disagreement(model, layer, question, frames):
            return {"size": size, "error": f"{name} differs from float64 by {fault:.1e}"}

    def forward(model: nn.Module) -> Tensor:
        with torch.no_grad():
            result: Tensor = model(question, frames)
        return result

    def both(model: nn.Module) -> None:
        model(question, frames).sum().backward()

    row: dict[str, Any] = {"size": size}
    calls: tuple[tuple[str, Callable[[nn.Module], object]], ...] = (("forward", forward), ("both", both))
    for name, call in calls:
        ours, theirs = timings([partial(call, layer), partial(call, published)])
        row |= {name: asdict(ours), f"published_{name}": asdict(theirs), f"{name}_ratio": theirs.median / ours.median}
    return row | {"flops_ratio": flops(lambda: forward(layer)) / flops(lambda: forward(published))}


def _disagreement(model: nn.Module, layer: TemporalMoE, question: Tensor, frames: Tensor) -> float | None:
    """How far the result is from the layer's in float64, where that is too far."""
    with torch.no_grad():
        got = model(question, frames).double()
        exact = (
            TemporalMoE(layer.dim, layer.router.num_experts, layer.router.top_k, dropout=0.0).to(got.device).double()
        )
        exact.load_state_dict(layer.state_dict())
        want = exact(question.double(), frames.double())
    error = float((got - want).abs().max() / want.abs().max())
    return None if error <= ERROR_BOUND else error


def _device(device: str) -> str:
    return (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    )


if __name__ == "__main__":
    sys.exit(main())
