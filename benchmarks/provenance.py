"""On what, with what and from which commit a result was made: recorded with it."""

from __future__ import annotations

import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ("gaussian_moe", "kernels", "benchmarks")
"""The folders whose content a result depends on."""


def provenance(device: str) -> dict[str, str]:
    """Device, what kind it is, threads and versions."""
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = "none"
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else _processor(),
        "kind": device,
        "threads": str(torch.get_num_threads()),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton,
    }


def commit(root: Path = ROOT) -> str:
    """The tree's commit, with `-dirty` where the measured code differs from it; "unknown" outside a clone.

    Recorded results and documents are not the measured code: writing them makes no tree dirty.
    """
    try:
        name = _git(root, "rev-parse", "--short", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *MEASURED, ":(exclude)benchmarks/results")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{name}-dirty" if changed else name


def slug(provenance: dict[str, str]) -> str:
    """A file name for a device, such as `nvidia-h100-80gb-hbm3` or `amd-epyc-2-threads`."""
    return re.sub(r"[^a-z0-9]+", "-", title(provenance).lower()).strip("-")


def title(provenance: dict[str, str]) -> str:
    """A device as documents name it: a processor with the number of threads that were used."""
    name, threads = provenance["device"], provenance["threads"]
    if provenance["kind"] == "cuda":
        return name
    return f"{name}, {threads} thread{'' if threads == '1' else 's'}"


def _processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return " ".join(names[0].split()) if names else platform.processor() or platform.machine()


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
