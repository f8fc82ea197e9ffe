"""When, where and with what a result was made: recorded beside it."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import torch

PACKAGES = ("torch", "lightning", "transformers", "av", "numpy")


def provenance() -> dict[str, str]:
    """Date, device, versions and commit."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {os.cpu_count()} cores"
    versions = {package: version(package) for package in PACKAGES}
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "device": f"{device}, {platform.machine()}",
        "python": platform.python_version(),
        "commit": _commit(),
        **versions,
    }


def _commit() -> str:
    """The tree's commit, marked where files differ from it; "unknown" outside a clone."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
