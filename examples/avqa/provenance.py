"""When, where and with what a result was made: recorded beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = ("torch", "lightning", "transformers", "av", "numpy")


def provenance(device: str | None = None) -> dict[str, str]:
    """Date, device, versions and commit.

    Args:
        device: "cpu" or "cuda"; by default cuda where there is one.
    """
    cuda = torch.cuda.is_available() if device is None else device == "cuda"
    name = torch.cuda.get_device_name() if cuda else f"CPU, {os.cpu_count()} cores"
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": f"{name}, {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        **{package: _version(package) for package in PACKAGES},
    }


def _version(package: str) -> str:
    """The version, or "none": a machine that only measures need not have every package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _commit() -> str:
    """The tree's commit, marked where files differ from it; "unknown" outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
