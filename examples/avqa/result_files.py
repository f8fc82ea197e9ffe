"""The files of one result folder: predictions, and their table beside them, never one of other predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from .annotations import Question, load_questions, load_vocabulary
from .errors import UserError
from .files import sweep_temporaries, write_text
from .results import AccuracyTable, Prediction, read_predictions, to_markdown, write_predictions, write_tables

PREDICTIONS, TABLES, MARKDOWN = "predictions.csv", "table.json", "table.md"


def results_name(split: str, own: Path | None, annotations: Path | None) -> str:
    """What a folder of results is called by default: the split, or FOLDER-NAME of other annotations FOLDER/NAME.json.

    Args:
        split: what is tested.
        own: the annotations that the split has without being told.
        annotations: those that are named in their place.
    """
    if annotations is None or (own is not None and annotations.resolve() == own.resolve()):
        return split
    # A name of dots would be another folder.
    return f"{annotations.resolve().parent.name}-{annotations.stem}".strip("-.") or "annotations"


def check_same_questions(folder: Path, annotations: Path, answers: Path) -> None:
    """Results are only written over those of the same questions.

    Raises:
        UserError: `folder` holds answers to others than `annotations`, whose answer index is `answers`.
    """
    path = folder / PREDICTIONS
    if not path.exists():
        return
    questions = load_questions(annotations, load_vocabulary(answers))
    if _asked([prediction.question for prediction in read_predictions(path)]) != _asked(questions):
        raise UserError(
            f"out: {path} answers other questions than {annotations}; name another folder with --out, or delete "
            f"{folder}"
        )


def remove_table(folder: Path) -> None:
    """Removes an old table before anything new is written: whoever is stopped in between leaves none of both."""
    for name in (MARKDOWN, TABLES):
        (folder / name).unlink(missing_ok=True)


def write_results(
    folder: Path, systems: Mapping[str, AccuracyTable], predictions: Sequence[Prediction], notes: Sequence[str] = ()
) -> None:
    """Writes predictions.csv, table.json and table.md.

    Args:
        folder: where to.
        systems: the table, a column a system.
        predictions: of the first system.
        notes: what is said below table.md.
    """
    remove_table(folder)
    write_predictions(folder / PREDICTIONS, predictions)
    write_table(folder, systems, notes)


def write_table(folder: Path, systems: Mapping[str, AccuracyTable], notes: Sequence[str] = ()) -> None:
    """Writes table.json and table.md."""
    sweep_temporaries(folder)
    remove_table(folder)
    write_tables(folder / TABLES, systems)
    below = "".join(f"\n- {note}" for note in notes)
    write_text(folder / MARKDOWN, to_markdown(systems) + (f"{below}\n" if below else ""))


def _asked(questions: Sequence[Question]) -> list[tuple[str, str, str, str]]:
    return sorted((q.question_id, q.video_id, q.text, q.answer) for q in questions)
