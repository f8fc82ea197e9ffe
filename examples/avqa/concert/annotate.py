"""Writes scenes and their questions down in MUSIC-AVQA's own format, with one more key: `topic`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from examples.avqa.concert.answers import NUMBERS
from examples.avqa.concert.questions import ask
from examples.avqa.concert.sample import SPLITS
from examples.avqa.concert.scene import Scene
from examples.avqa.concert.settings import ConcertSettings
from examples.avqa.files import write_json

# MUSIC-AVQA's 42 answers, in an order of our own.
ANSWERS = (
    *NUMBERS,
    "more than ten",
    "yes",
    "no",
    "left",
    "middle",
    "right",
    "indoor",
    "outdoor",
    "simultaneously",
    "accordion",
    "acoustic_guitar",
    "bagpipe",
    "banjo",
    "bassoon",
    "cello",
    "clarinet",
    "congas",
    "drum",
    "electric_bass",
    "erhu",
    "flute",
    "guzheng",
    "piano",
    "pipa",
    "saxophone",
    "suona",
    "trumpet",
    "tuba",
    "ukulele",
    "violin",
    "xylophone",
)


def annotate(scenes: Sequence[Scene], settings: ConcertSettings) -> list[dict[str, Any]]:
    """The questions about all scenes, numbered in this order."""
    records: list[dict[str, Any]] = []
    for scene in tqdm(scenes, desc="questions", unit="concert", disable=None):
        for question in ask(scene, settings):
            records.append(
                {
                    "video_id": scene.video_id,
                    "question_id": len(records),
                    "type": json.dumps(question.template.kind),
                    "question_content": question.template.text,
                    "templ_values": json.dumps(question.values),
                    "question_deleted": 0,
                    "anser": question.answer,
                    "topic": question.topic,
                }
            )
    return records


def write_annotations(folder: Path, scenes: Sequence[Scene], settings: ConcertSettings) -> None:
    """Writes `train.json`, `val.json`, `test.json`, `answer2idx.json`, `scenes.json` and `settings.json`.

    Question ids are unique over the three splits.
    """
    records = annotate(scenes, settings)
    split_of = {scene.video_id: scene.split for scene in scenes}
    for split in SPLITS:
        write_json(folder / f"{split}.json", [record for record in records if split_of[record["video_id"]] == split])
    # Each template value is one word, so that filling a template leaves its number of words as it is.
    longest = max(len(record["question_content"].split()) for record in records)
    index = {"ans2ix": {answer: i for i, answer in enumerate(ANSWERS)}, "max_que_len": longest}
    write_json(folder / "answer2idx.json", index)
    write_json(folder / "scenes.json", [scene.to_json() for scene in scenes])
    write_json(folder / "settings.json", settings.to_json())
