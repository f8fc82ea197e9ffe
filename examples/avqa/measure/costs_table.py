"""Markdown of what reproducing the paper takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def costs_table(record: Mapping[str, Any]) -> str:
    """The figures as Markdown: one table of the parts, one of the data sets."""
    lines = ["| part | GFLOPs |", "| --- | ---: |"]
    lines += [f"| {name}, one second of video | {value / 1e9:.4g} |" for name, value in record["a_frame"].items()]
    lines += [
        f"| {name}, one training step of {record['batch']} | {value / 1e9:.4g} |"
        for name, value in record["a_step"].items()
    ]
    lines += [
        "",
        "| videos | | float32 files | `extract`'s folder | packed store | extraction, at least | training, at least |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, sizes in record["sets"].items():
        hours = [sizes[part] / record["sustained"] / 3600 for part in ("extract_flops", "train_flops")]
        training = f"{hours[1]:.2f} h ({sizes['steps']} steps)" if sizes["steps"] else "–"
        lines.append(
            f"| {name} | {sizes['videos']} | {sizes['published_bytes'] / 1e9:.1f} GB "
            f"| {sizes['folder_bytes'] / 1e9:.1f} GB | {sizes['store_bytes'] / 1e9:.1f} GB "
            f"| {hours[0]:.2f} h | {training} |"
        )
    made = record["provenance"]
    return "\n".join(
        [
            *lines,
            "",
            f"Bytes and multiplications are counted ({made['date']}, commit {made['commit']}, torch {made['torch']}); "
            f"hours are **estimated**, not measured, and a lower bound: those multiplications at a sustained "
            f"{record['sustained'] / 1e12:.0f} TFLOP/s on one GPU in float32. Decoding videos, reading features "
            "and starting kernels come on top; in training they are most of it.",
            "",
        ]
    )
