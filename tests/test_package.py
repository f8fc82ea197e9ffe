"""The wheel: what is in it, and that it works where this tree is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TREE = ("gaussian_moe", "kernels", "examples", "benchmarks", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the tree gets no build folders."""
    tree = tmp_path_factory.mktemp("tree")
    for name in TREE:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(source, tree / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tree / "dist"), str(tree)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    (built,) = (tree / "dist").glob("*.whl")
    return built


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_beside_it(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"gaussian_moe"}
    in_tree = {
        f"gaussian_moe/{path.relative_to(ROOT / 'gaussian_moe')}" for path in (ROOT / "gaussian_moe").glob("*.py")
    }
    in_tree |= {
        f"gaussian_moe/kernels/{path.relative_to(ROOT / 'kernels')}" for path in (ROOT / "kernels").rglob("*.py")
    }
    assert in_tree | {"gaussian_moe/py.typed"} <= set(names)


@pytest.mark.slow
def test_the_wheel_works_on_its_own(wheel: Path, tmp_path: Path) -> None:
    install = ["install", "--quiet", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)]
    subprocess.run([sys.executable, "-m", "pip", *install], check=True, timeout=120)
    script = (
        "import pathlib, torch, gaussian_moe\n"
        "pooled = gaussian_moe.TemporalMoE(16, heads=4)(torch.randn(2, 16), torch.randn(2, 5, 16))\n"
        "print(pathlib.Path(gaussian_moe.kernels.__file__).resolve(), tuple(pooled.shape), gaussian_moe.__version__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    file, shape = done.stdout.split(" ", 1)
    assert Path(file).is_relative_to(tmp_path / "site")
    assert shape.startswith("(2, 16) 0.")
