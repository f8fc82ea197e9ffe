"""The `report` command: runs beside each other and beside the published numbers, in Markdown and as a chart."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.markdown import Markdown

from .errors import UserError
from .files import sweep_temporaries, write_text
from .published import published as published_figures
from .report_chart import MOST, draw_report
from .report_runs import Group, different, read_groups
from .report_text import PUBLISHED, markdown, mismatches, report_tables
from .results import write_tables


def report(
    runs: list[str],
    out: Path = Path("report"),
    published: str | None = None,
    different_questions: bool = False,
    chart: Literal["png", "svg", "pdf"] = "png",
) -> None:
    """Set several runs, with mean and spread over seeds, beside each other and beside published numbers.

    Each of RUNS is a folder with predictions.csv or table.json, as `test` and `evaluate` write, or NAME=FOLDER, or
    NAME=PATTERN for all folders that match: all of one NAME are runs of one system, with other seeds. So

      report "QA-TIGER=runs/tiger-*/test" "uniform=runs/uniform-*/test" --published music-avqa

    Writes report.md, table.json and the chart.

    Args:
        runs: what to report.
        out: folder of the report.
        published: published numbers to hold beside: music-avqa, music-avqa-ablation, music-avqa-r, or
            music-avqa-v2-TRAIN-to-TEST with bias or balance for TRAIN and TEST.
        different_questions: report also what answered different questions, such as head and tail of MUSIC-AVQA-R;
            the report then says so. Otherwise that is an error.
        chart: format of the chart.
    """
    beside = None if published is None else published_figures(published)
    theirs = [f"{name}{PUBLISHED}" for name in beside.systems] if beside else []
    groups = read_groups(runs)
    tables = report_tables(groups, beside)
    if len(tables) < len(groups) + len(theirs):
        raise UserError(f"runs: two columns would be called alike; these are {', '.join(tables)}")
    if len(tables) > MOST:
        raise UserError(f"runs: {len(tables)} systems with the published ones; a report holds at most {MOST}")
    faults = _different(groups) + mismatches(groups, beside)
    if faults and not different_questions:
        raise UserError(f"{faults[0]}; --different_questions true sets them side by side all the same")
    sweep_temporaries(out)
    picture = out / f"chart.{chart}"
    title = beside.title if beside and not faults else "Accuracy by question type"
    draw_report(picture, tables, theirs, title)
    text = markdown(groups, beside, faults)
    write_text(out / "report.md", f"{text}\n![Accuracy by question type]({picture.name})\n")
    write_tables(out / "table.json", tables)
    Console().print(Markdown(text))
    print(f"Results: {out / 'report.md'}, {out / 'table.json'}, {picture}")


def _different(groups: list[Group]) -> list[str]:
    told = (different(groups[0].runs[0], group.runs[0]) for group in groups[1:])
    return [difference for difference in told if difference]
