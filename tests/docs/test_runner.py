"""The runner finds what is wrong with a page, and says where. Pages here are written by the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from .blocks import PageError, parsed
from .commands import check_commands, commands
from .page import PageRun


def run(text: str, folder: Path, shell: bool = False) -> PageRun:
    page = PageRun(folder, shell=shell)
    page.run(parsed(text, "page.md"))
    return page


def fence(language: str, source: str) -> str:
    return f"```{language}\n{source}\n```\n"


FAULTS = {
    "python raises": (fence("python", "x = 1\nx / 0"), "page.md:1: ZeroDivisionError"),
    "a name of no block": ("\n" + fence("python", "print(unknown)"), "page.md:2: NameError"),
    "a doctest's output": (fence("python", ">>> 1 + 1\n3"), "page.md:2: Expected"),
    "pycon is compared": (fence("pycon", ">>> 1 + 1\n3"), "page.md:2: Expected"),
    "shown output": (fence("python", "print(1)") + "\n" + fence("text", "2"), "page.md:5: ValueError: the page shows"),
    "yaml": (fence("yaml", "a: [1"), "page.md:1: ParserError"),
    "json": (fence("json", "{'a': 1}"), "page.md:1: JSONDecodeError"),
    "an unknown language": (fence("console", "$ make test"), "no block in 'console'"),
    "commands without a language": (fence("", "make test"), "write ```bash"),
    "an unknown target": (fence("bash", "make nothing"), "no target 'nothing'"),
    "an unknown program": (fence("bash", "frobnicate"), "not run: REASON"),
    "an unknown command": (fence("bash", "python -m examples.avqa nothing"), "no command 'nothing'"),
    "an unknown option": (fence("bash", "python -m examples.avqa concert --out x --seconds 3"), "concert refuses"),
    "an unknown option of benchmarks": (fence("bash", "python -m benchmarks run --nothing"), "benchmarks refuses"),
    "a config that is not there": (
        fence("bash", "python -m examples.avqa check --config no.yaml"),
        "no config no.yaml",
    ),
    "an unknown extra": (fence("bash", 'pip install ".[nothing]"'), "no extra 'nothing'"),
    "a reason that says nothing": ("<!-- not run: -->\n" + fence("bash", "x"), "says nothing"),
    "a mark above no block": ("<!-- not run: a reason -->\ntext\n\n" + fence("bash", "make test"), "no block directly"),
    "a file elsewhere": (fence('python title="../x.py"', "x"), "outside the folder"),
}


@pytest.mark.parametrize(("text", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found_with_its_place(text: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(PageError) as found:
        run(text, tmp_path)
    assert str(found.value).startswith("page.md:")
    assert fault in str(found.value)


def test_a_page_has_one_namespace_and_a_folder_of_its_own(tmp_path: Path) -> None:
    before = Path.cwd()
    text = "<!-- setup\nfrom pathlib import Path\n-->\n" + fence("python", 'here = Path.cwd(); Path("made").touch()')
    run(text + fence("python", "assert here == Path.cwd()\nprint(7)") + fence("text", "7"), tmp_path)
    assert (tmp_path / "made").is_file()
    assert Path.cwd() == before


def test_what_is_not_run_is_told(tmp_path: Path) -> None:
    page = run("<!-- not run: wants a GPU -->\n\n" + fence("python", "1 / 0"), tmp_path)
    assert page.not_run == ["page.md:3: wants a GPU"]


def test_text_that_follows_no_run_block_is_free(tmp_path: Path) -> None:
    run(fence("python", "print(1)") + "\nA sentence.\n\n" + fence("text", "anything"), tmp_path)


@pytest.mark.slow
def test_shell_blocks_run_with_this_python_and_this_repository(tmp_path: Path) -> None:
    script = "python -c \"import examples.avqa, torch; print('here')\""
    run(fence("bash", script) + fence("text", "here"), tmp_path, shell=True)
    with pytest.raises(PageError, match="ended with status 3, not 0"):
        run(fence("bash", "exit 3"), tmp_path, shell=True)
    with pytest.raises(PageError, match="ended with status 1"):
        run(fence("bash", "false\ntrue"), tmp_path, shell=True)
    with pytest.raises(PageError, match="ended with status 0, not 2"):
        run("<!-- exits: 2 -->\n" + fence("bash", "true"), tmp_path, shell=True)


def test_commands_are_parted_as_a_shell_parts_them() -> None:
    source = "make setup  # once; only\n# nothing\nA=1 python -m x --s '[\"a\"]' \\\n  --t && cd y; make z"
    wanted = [["make", "setup"], ["python", "-m", "x", "--s", '["a"]', "--t"], ["cd", "y"], ["make", "z"]]
    assert commands(source) == wanted


def test_readers_own_names_stand_for_theirs(tmp_path: Path) -> None:
    check_commands("torchrun --nnodes 2 -m examples.avqa fit --config CONFIG.yaml --out RUN", tmp_path)
    check_commands('pip install ".[hub]"\nmake test WORKERS=4', tmp_path)
