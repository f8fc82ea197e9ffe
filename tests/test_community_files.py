"""Workflows, forms and metadata: valid by their schemas, and they say what the package says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import gaussian_moe
from tests import release

ROOT = Path(__file__).resolve().parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted(path for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
SCHEMAS = {
    "vendor.citation-file-format": [ROOT / "CITATION.cff"],
    "vendor.dependabot": [ROOT / ".github" / "dependabot.yml"],
    "vendor.github-issue-config": [ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml"],
    "vendor.github-issue-forms": FORMS,
    "vendor.github-workflows": WORKFLOWS,
    "custom.github-workflows-require-timeout": WORKFLOWS,
}
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
CLASSIFIED = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def valid(schema: str, *files: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *map(str, files)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_are_valid(schema: str) -> None:
    assert SCHEMAS[schema]
    done = valid(schema, *SCHEMAS[schema])
    assert done.returncode == 0, done.stdout


def test_a_broken_file_would_be_noticed(tmp_path: Path) -> None:
    text = WORKFLOWS[0].read_text(encoding="utf-8")
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("runs-on:", "runs_on:"), encoding="utf-8")
    assert valid("vendor.github-workflows", broken).returncode == 1
    broken.write_text(re.sub(r".*timeout-minutes.*\n", "", text), encoding="utf-8")
    assert valid("custom.github-workflows-require-timeout", broken).returncode == 1


def test_all_are_there() -> None:
    assert [path.stem for path in WORKFLOWS] == ["audit", "docs", "lint", "release", "tests"]
    assert [path.stem for path in FORMS] == ["bug", "feature", "question", "wrong_number"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_read_and_no_more(path: Path) -> None:
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"].startswith(f"{path.stem}-")
    assert "secrets." not in path.read_text(encoding="utf-8")
    may_write = {name: job["permissions"] for name, job in workflow["jobs"].items() if "permissions" in job}
    assert set(may_write) <= {"publish", "deploy"}
    for step in steps(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_the_release_publishes_in_its_environment() -> None:
    jobs = read(ROOT / ".github" / "workflows" / "release.yml")["jobs"]
    assert jobs["publish"]["environment"] == {"name": "release"}
    assert jobs["publish"]["permissions"] == {"id-token": "write", "attestations": "write"}
    assert jobs["publish"]["needs"] == "build"
    texts = {path.stem: path.read_text(encoding="utf-8") for path in WORKFLOWS}
    assert [name for name, text in texts.items() if "gh-action-pypi-publish" in text] == ["release"]


def test_every_make_target_is_in_the_makefile() -> None:
    commands = [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]
    called = {target for command in commands for target in re.findall(r"\bmake ([a-z-]+)", command)}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {"setup", "check", "test-all", "docs", "test-dist"} <= called
    assert called - set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)) == set()


def test_pythons_and_torch_are_those_of_the_package() -> None:
    matrix = read(ROOT / ".github" / "workflows" / "tests.yml")["jobs"]["library"]["strategy"]["matrix"]["include"]
    assert {entry["python"] for entry in matrix} == set(CLASSIFIED)
    assert f'requires-python = ">={CLASSIFIED[0]}"' in PROJECT
    (oldest,) = re.findall(r'"torch>=([\d.]+)"', PROJECT)
    assert {entry["torch"] for entry in matrix} == {f"{oldest}.0", "", "newest"}
    # The ends of the range of Pythons with each torch, and the pin with all.
    for torch in (f"{oldest}.0", "newest"):
        assert {entry["python"] for entry in matrix if entry["torch"] == torch} == {CLASSIFIED[0], CLASSIFIED[-1]}
    assert {entry["python"] for entry in matrix if entry["torch"] == ""} == set(CLASSIFIED)
    page = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
    assert f"| Python | {CLASSIFIED[0]} to {CLASSIFIED[-1]} |" in page
    assert f"| PyTorch | {oldest} and later" in page
    assert (
        f"Python {CLASSIFIED[0]} or later and PyTorch {oldest} or later" in (ROOT / "docs" / "package.md").read_text()
    )


def test_there_is_one_version() -> None:
    assert release.version() == gaussian_moe.__version__ == release.cited()
    assert release.heading(gaussian_moe.__version__)


def test_the_package_page_needs_no_other_file() -> None:
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]*)\)", page)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert 'readme = "docs/package.md"' in PROJECT


def test_the_paper_is_cited_alike() -> None:
    cited = read(ROOT / "CITATION.cff")["preferred-citation"]
    page = (ROOT / "docs" / "package.md").read_text(encoding="utf-8")
    authors = " and ".join(f"{author['family-names']}, {author['given-names']}" for author in cited["authors"])
    assert f"author = {{{authors}}}" in page
    assert f"title = {{{cited['title']}}}" in page
    assert f"year = {{{cited['year']}}}" in page
    assert cited["url"] in page
