"""The `check` command: one table of what a data set holds, lacks, and what of it is broken."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .config import DataConfig
from .data_report import TOGETHER, DataReport, report_on
from .errors import UserError
from .feature_faults import FAULT_KINDS
from .files import write_json
from .first_few import first_few
from .store import is_store

_WIDTH = 84


def check(data: DataConfig, out: Path | None = None, values: bool = False) -> None:
    """Check a data set before anything is trained: answers, annotations and every feature header, in one table.

    Takes the YAML files of fit and compare; what they say of model and training is not looked at. Ends with exit code
    2 if anything is wrong, and tells how to mend it.

    Args:
        data: what to check.
        out: JSON file for everything that was found; the screen shows a few examples of each fault.
        values: read every value too, for NaN and infinity; of a packed store, compare the checksums.

    Raises:
        UserError: something is wrong.
    """
    report = report_on(data, values)
    console = Console()
    # A narrower screen breaks lines; rich would leave out letters.
    console.width = max(console.width, _WIDTH)
    console.print(table(report, values))
    if data.features is None:
        console.print("No features are named: the question alone would be read.")
    if out is not None:
        write_json(out, report.plain())
    messages = report.messages()
    if not messages:
        console.print("All is well.")
        return
    for line in (*_examples(report), *_mends(report, data)):
        # Not console.print: it would break file names at the width of the screen.
        print(line)
    told = f"{out} lists all" if out else "--out FILE.json lists all"
    raise UserError(f"the data has {len(messages)} faults; {told}")


def table(report: DataReport, values: bool = False) -> Table:
    """One line for each split and modality; `values` says whether those were read."""
    kinds = [kind for kind in FAULT_KINDS if values or kind != "values"]
    screen = Table(
        box=SIMPLE_HEAD,
        padding=0,
        title="videos wanted, there, and at fault (there together: without any fault)",
        title_justify="left",
    )
    for name in ("split", "questions", "answers", "features", "wanted", "there", *kinds):
        screen.add_column(name, justify="left" if name in ("split", "features") else "right", no_wrap=True)
    known = "?" if report.vocabulary is None else len(report.vocabulary)
    for name, split in report.splits.items():
        head = (name, str(len(split.questions)), f"{split.answers} of {known}")
        counted = split.counts() if report.with_features else {}
        for modality, counts in counted.items():
            numbers = (counts.wanted, counts.there, *(counts.faults[kind] for kind in kinds))
            bad = counts.there < counts.wanted or any(counts.faults.values())
            cells = (*head, modality, *map(str, numbers))
            screen.add_row(*map(Text, cells), style="red" if bad else None, end_section=modality == TOGETHER)
            head = ("", "", "")
        if not counted:
            screen.add_row(*map(Text, (*head, "none", str(len(split.video_ids)))))
    return screen


def _examples(report: DataReport) -> Iterator[str]:
    """A few of each fault."""
    yield from report.faults
    for split in report.splits.values():
        yield from first_few(split.annotation_faults, 3)
    found = [fault for split in report.splits.values() for fault in split.feature_faults]
    for kind in FAULT_KINDS:
        messages = dict.fromkeys(fault.message for fault in found if fault.kind == kind)
        yield from first_few([message for message in messages if message not in report.faults], 3)


def _mends(report: DataReport, data: DataConfig) -> Iterator[str]:
    """The commands that mend the features; messages of annotations tell their own."""
    kinds = {fault.kind for split in report.splits.values() for fault in split.feature_faults}
    if not kinds or data.features is None:
        return
    if is_store(data.features):
        pack = f"python -m examples.avqa pack --features FOLDER --out {data.features} --encoder {data.encoder}"
        yield f"To mend the features: delete {data.features}, then: {pack}"
        return
    extract = f"python -m examples.avqa extract --videos VIDEOS --out {data.features} --preset {data.encoder}"
    delete = "" if kinds == {"missing"} else "delete the files that are broken or wrong, then: "
    yield f"To mend the features: {delete}{extract}"
    if "frames" in kinds:
        yield "Where a modality only has more frames than another: --data.frames 60 uses the first 60 of each"
    if "missing" in kinds:
        yield "Where the folders have other names: --data.folders.audio NAME, and so on for video and patches"
