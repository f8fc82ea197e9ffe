"""The `answer` command: one video, one question, the best answers, and a picture of where the model looked."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .answering import DEFAULT_RUN, NOTHING_TO_DRAW, Asker, asked_text, draw
from .errors import UserError
from .files import sweep_temporaries
from .fit import model_file
from .media import probe


def answer(
    video: Path,
    question: str,
    run: Path = DEFAULT_RUN,
    top: int = 5,
    picture: Path | None = None,
    weights: Path | None = None,
) -> None:
    """Answer a question about a video file.

    Of a longer video only as many seconds are looked at, the first ones, as the model was trained and tested on.
    Prints the most probable answers and saves a picture: the clip's frames and waveform over the experts'
    Gaussians, for sound and for sight; of a model without Gaussians the frames' weights are drawn instead. TSPM has
    no experts, so that nothing is drawn of it.

    Args:
        video: any video file with a picture; without sound it is taken as silent.
        question: in words, such as "Which instrument starts first?".
        run: folder that `fit` wrote.
        top: how many answers to print.
        picture: where the picture goes; by default RUN/answers/VIDEO-QUESTION.png.
        weights: folder of the weights of preset paper, see `extract --help`, for a model that was trained with it; by
            default the run's own, or the hub's.
    """
    if top < 1:
        raise UserError(f"top must be at least 1, got {top}")
    text = asked_text(question)
    if picture is not None and picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"picture: {picture} must end in .png, .pdf or .svg")
    # Before a model is read: what is wrong is told at once.
    model_file(run)
    probe(video)
    print(f"Loading {run} and its encoders, then reading {video.name} ...", file=sys.stderr)
    asker = Asker(run, weights)
    clip = asker.watch(video)
    answered = asker.ask(clip, question, top)
    Console().print(_table(answered.ranked, clip.features.silent))
    if clip.cut_told:
        print(clip.cut_told)
    if not answered.looked:
        print(NOTHING_TO_DRAW)
        return
    out = picture or run / "answers" / f"{video.stem}-{_slug(text)}.png"
    sweep_temporaries(out.parent)
    draw(out, clip, answered)
    print(f"Picture: {out}")


def _table(answers: list[tuple[str, float]], silent: bool) -> Table:
    title = "the video has no sound" if silent else None
    table = Table("answer", "probability", "", title=title)
    for name, probability in answers:
        table.add_row(name, f"{probability:.3f}", "█" * round(30 * probability))
    return table


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
