"""The audit finds planted faults, and never takes silence for an answer."""

from __future__ import annotations

import json
import subprocess
from email.message import Message
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from tests import audit

FAULT = {"id": "PYSEC-2019-217", "fix_versions": ["2.10.1"], "aliases": ["CVE-2019-10906"]}


class _Distribution:
    """As much of an installed package as is looked at."""

    def __init__(self, name: str, **about: str) -> None:
        self.metadata = Message()
        self.metadata["Name"] = name
        for key, value in about.items():
            self.metadata[key.replace("_", "-")] = value


@pytest.mark.parametrize(
    "about",
    [
        {"License_Expression": "MIT"},
        {"License_Expression": "Apache-2.0 AND Apache-2.0 WITH LLVM-exception AND BSD-3-Clause"},
        {"License_Expression": "GPL-3.0-only OR MIT"},
        {"License_Expression": "MPL-2.0 AND (Apache-2.0 OR MIT)"},
        {"Classifier": "License :: OSI Approved :: BSD License"},
        {"License": "MPL-2.0 AND MIT"},
    ],
)
def test_licences_that_may_be_had(about: dict[str, str]) -> None:
    assert audit.licence_faults([_Distribution("a", **about)]) == []  # type: ignore[list-item]  # a stand-in


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"License": "UNKNOWN"},
        {"License_Expression": "GPL-3.0-only"},
        {"License_Expression": "MIT AND AGPL-3.0-or-later"},
        {"Classifier": "License :: Other/Proprietary License"},
        {"Classifier": "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"},
        {"License": "CC-BY-NC-4.0"},
    ],
)
def test_licences_that_may_not(about: dict[str, str]) -> None:
    assert len(audit.licence_faults([_Distribution("a", **about)])) == 1  # type: ignore[list-item]  # a stand-in


def test_what_a_package_carries_inside_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setuptools adds such a folder to the path once it is imported."""
    (tmp_path / "carried-1.0.dist-info").mkdir()
    (tmp_path / "carried-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert metadata.version("carried") == "1.0"
    assert "carried" not in audit.installed()
    assert audit.installed().keys() >= {"torch", "gaussian-moe", "pytest"}


def test_what_is_installed_is_allowed_and_constrained() -> None:
    found = audit.installed()
    assert audit.licence_faults(found.values()) == []
    for name in audit._LICENCE_READ:
        assert name in found
    text = (audit.ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert audit.constraint_faults(text, {name: one.version for name, one in found.items()}) == []


def test_other_releases_and_a_torch_that_is_not_pinned_are_told() -> None:
    text = "torch>=2.7\n# a==1\nA.b==2.0\nc==1; python_version < '3'\n"
    assert audit.constraint_faults(text, {"a-b": "2.1", "c": "3"}) == [
        "a-b 2.1 is installed, constraints.txt wants ==2.0",
        "constraints.txt does not pin torch to one release",
    ]
    assert audit.constraint_faults("torch==2.13.0\n", {"torch": "2.13.0+cpu"}) == []


def test_bounds_that_let_a_known_fault_in_are_told() -> None:
    minima = (audit.Minimum("b", "1.2", "CVE-0"),)
    wanted = [Requirement(text) for text in ("a", "b>=1.1", "b>=1.2,<3", "b<3", "types-a", "c~=1.0")]
    faults = audit.bound_faults(wanted, minima)
    assert [fault.split(" ")[0] for fault in faults] == ["a", "b>=1.1", "b<3"]
    assert "before 1.2 in (CVE-0)" in faults[1]


def _service(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> list[str]:
    """pip-audit answers these in turn; the list takes what it was asked about."""
    asked, rest = list[str](), list(answers)

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(Path(command[command.index("-r") + 1]).read_text())
        answer = rest.pop(0)
        text = answer if isinstance(answer, str) else json.dumps({"dependencies": answer})
        return subprocess.CompletedProcess(command, 1, text, "" if text else "ConnectionError: no route")

    monkeypatch.setattr(subprocess, "run", run)
    return asked


KNOWN = [{"name": "jinja2", "version": "2.4.1", "vulns": [FAULT]}]


def test_faults_that_the_service_knows_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _service(monkeypatch, KNOWN, [{"name": "a", "version": "1", "vulns": [FAULT]}])
    assert audit.advisories() == (["a 1: PYSEC-2019-217, mended in 2.10.1"], None)
    assert asked[0] == f"{audit.KNOWN_FAULT}\n"
    assert "einops==" in asked[1]
    assert "gaussian-moe" not in asked[1]


def test_an_ignored_advisory_is_not_told_by_any_of_its_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "IGNORED", {"CVE-2019-10906": "not used"})
    _service(monkeypatch, KNOWN, [{"name": "a", "version": "1", "vulns": [FAULT]}])
    monkeypatch.setattr(audit, "_audited", _unignored_probe(audit._audited))
    assert audit.advisories() == ([], None)


def _unignored_probe(real: Any) -> Any:
    def audited(python: Any, listed: Path) -> Any:
        found = real(python, listed)
        return (["known"], None) if listed.name == "probe.txt" else found

    return audited


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([""], "pip-audit could not ask: ConnectionError: no route"),
        (["no JSON"], "pip-audit could not ask"),
        ([[{"name": "jinja2", "version": "2.4.1", "vulns": []}]], "it was not asked"),
        ([[{"name": "jinja2", "skip_reason": "not found"}]], "knows nothing of jinja2"),
        ([KNOWN, [{"name": "a", "skip_reason": "not found"}]], "knows nothing of a"),
        ([KNOWN, ""], "pip-audit could not ask"),
    ],
)
def test_silence_is_no_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answers: list[Any], why: str
) -> None:
    monkeypatch.setattr(audit, "bound_faults", lambda wanted: [])
    _service(monkeypatch, *answers)
    assert audit.main([]) == audit.NOT_CHECKED
    assert why in capsys.readouterr().err


def test_offline_nothing_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = _service(monkeypatch)
    monkeypatch.setattr(audit, "bound_faults", lambda wanted: ["a lets b in"])
    assert audit.main(["--offline"]) == 1
    assert "FAULT a lets b in" in capsys.readouterr().err
    assert asked == []
