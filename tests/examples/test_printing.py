"""What is printed never ends a command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.avqa import printing

_PRINTS = """
import sys
from pathlib import Path
from examples.avqa.printing import flush_out, make_patient

make_patient()
for _ in range(20000):
    print({text!r})
print({text!r}, file=sys.stderr)
Path(sys.argv[1]).write_text("written")
if fault := flush_out():
    print("error:", fault, file=sys.stderr)
    sys.exit(2)
"""
ROOT = Path(printing.__file__).parents[2]


def _prints(out: Path, text: str, redirected: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = out.with_name("prints.py")
    script.write_text(_PRINTS.format(text=text), encoding="utf-8")
    line = f"set -o pipefail; {sys.executable} {script} {out} {redirected}"
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("redirected", ["| head -1", ">&-", "2>&1 | true", ">&- 2>&-"])
def test_who_stops_reading_stops_nothing(tmp_path: Path, redirected: str) -> None:
    done = _prints(tmp_path / "out", "a line", redirected)
    assert (done.returncode, done.stderr.strip()) in ((0, "a line"), (0, ""))
    assert (tmp_path / "out").read_text() == "written"


def test_letters_that_a_terminal_lacks_are_told_otherwise(tmp_path: Path) -> None:
    done = _prints(tmp_path / "out", "█ caf\udce9", "| tail -1", PYTHONIOENCODING="latin-1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\u2588 caf\\udce9\n", "\\u2588 caf\\udce9\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_under_standard_output_is_told_once(tmp_path: Path) -> None:
    script = tmp_path / "prints.py"
    script.write_text(_PRINTS.format(text="a line").replace("20000", "1"), encoding="utf-8")
    line = f"{sys.executable} {script} {tmp_path / 'out'} > /dev/full"
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    variables |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-c", line], env=variables, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "a line\nerror: standard output: No space left on device\n")
