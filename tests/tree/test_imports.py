"""Imports run one way, bring nothing heavy, and no file grows too long."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ["gaussian_moe", "kernels", "benchmarks", "docs", "examples", "tests"]
# What a folder may import of the others. The kernels are imported only as gaussian_moe.kernels.
ALLOWED = {
    "kernels": set(),
    "gaussian_moe": {"gaussian_moe"},
    "benchmarks": {"gaussian_moe", "benchmarks"},
    "docs": {"docs", "examples", "gaussian_moe"},
    "examples": {"gaussian_moe", "examples"},
}


def files(folder: str) -> list[Path]:
    """The folder's Python files; the link gaussian_moe/kernels is kernels/ and is not followed."""
    return [path for path in sorted((ROOT / folder).rglob("*.py")) if "gaussian_moe/kernels/" not in path.as_posix()]


def imported(source: str, package: list[str]) -> set[str]:
    """Full names of what a file of the package imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("folder", sorted(ALLOWED))
def test_imports_run_one_way(folder: str) -> None:
    for path in files(folder):
        package = list(path.relative_to(ROOT).parent.parts)
        for name in imported(path.read_text(encoding="utf-8"), package):
            top = name.partition(".")[0]
            own = folder == "kernels" and top == "kernels"
            assert top not in FOLDERS or own or top in ALLOWED[folder], f"{path} imports {name}"


def test_kernels_import_each_other_relatively() -> None:
    """`import kernels` would be another package once installed."""
    for folder in FOLDERS:
        for path in files(folder):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Import):
                    assert not [alias for alias in node.names if alias.name.partition(".")[0] == "kernels"], path
                if isinstance(node, ast.ImportFrom) and not node.level:
                    assert (node.module or "").partition(".")[0] != "kernels", path


def test_modules_of_the_library_reach_kernels_through_functional_only() -> None:
    for path in files("gaussian_moe"):
        # backend.py asks which of them can run.
        if "functional" not in path.parts and path.name != "backend.py":
            names = imported(path.read_text(encoding="utf-8"), ["gaussian_moe"])
            assert not [name for name in names if name.startswith("gaussian_moe.kernels")], path


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("import a.b", {"a.b"}),
        ("from . import c", {"p.q", "p.q.c"}),
        ("from .c import d", {"p.q.c", "p.q.c.d"}),
        ("from ..r import s", {"p.r", "p.r.s"}),
        ("def f():\n    from x import y", {"x", "x.y"}),
    ],
)
def test_imports_are_read_right(source: str, wanted: set[str]) -> None:
    assert imported(source, ["p", "q"]) == wanted


def test_importing_the_library_brings_nothing_heavy() -> None:
    before_and_after = (
        "import sys, torch, einops; before = set(sys.modules); import gaussian_moe, gaussian_moe.functional;"
        "print(' '.join({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", before_and_after], capture_output=True, text=True, check=True, cwd=ROOT
    )
    brought = set(result.stdout.split())
    assert "gaussian_moe" in brought
    # Neither triton nor numpy, nor what only the examples need.
    assert not brought - set(sys.stdlib_module_names) - {"gaussian_moe", "einops", "torch"}


def test_no_file_is_over_500_lines() -> None:
    counted = [path for folder in FOLDERS if (ROOT / folder).is_dir() for path in files(folder)]
    assert len(counted) > 30
    for path in counted:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 500, path
