"""The rendered concerts that `serve` offers: those of the test split, each with its questions and true answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from .annotations import Vocabulary, load_questions, question_text
from .config import DataConfig
from .errors import UserError


class Concert(NamedTuple):
    """One concert that no model of the data set was trained on."""

    video: Path
    truth: Mapping[str, str]
    """The true answer to each annotated question; questions without their final mark."""

    @property
    def questions(self) -> list[str]:
        """The annotated questions, as one asks them."""
        return [f"{text}?" for text in self.truth]

    def answer_to(self, question: str) -> str | None:
        """The true answer to a question that is annotated, however it was typed."""
        wanted = question_text(question).casefold()
        return next((answer for text, answer in self.truth.items() if text.casefold() == wanted), None)


def rendered_concerts(folder: Path | None, data: DataConfig, vocabulary: Vocabulary) -> Mapping[str, Concert]:
    """The test concerts whose video is there, by their id, in the order of the annotations.

    Args:
        folder: what `concert` wrote: videos/ and test.json. None takes the folder of the run's own test annotations,
            and nothing where they are gone.
        data: the run's data.
        vocabulary: the answers that the run's model knows.

    Raises:
        UserError: `folder` is none of `concert`, or its annotations are broken or of another data set.
    """
    annotations = data.test if folder is None else folder / "test.json"
    videos = None if annotations is None else annotations.parent / "videos"
    if annotations is None or videos is None or not (annotations.is_file() and videos.is_dir()):
        if folder is None:
            return {}
        raise UserError(
            f"concerts: {folder} lacks test.json or videos/; render concerts with: "
            f"python -m examples.avqa concert --out {folder}"
        )
    truth: dict[str, dict[str, str]] = {}
    for question in load_questions(annotations, vocabulary):
        truth.setdefault(question.video_id, {})[question.text] = question.answer
    paths = {video_id: videos / f"{video_id}.mp4" for video_id in truth}
    found = {video_id: Concert(path, truth[video_id]) for video_id, path in paths.items() if _lies_in(videos, path)}
    if folder is not None and not found:
        raise UserError(f"concerts: {videos} holds no video of {annotations}; the same `concert` command again goes on")
    return found


def _lies_in(videos: Path, path: Path) -> bool:
    """Whether a video is there, and no link to a file elsewhere, which visitors would be sent."""
    # A link may lead in a circle, or to a name that no file can have.
    with suppress(OSError, RuntimeError):
        return path.is_file() and path.resolve().parent == videos.resolve()
    return False


def common_questions(concerts: Sequence[Concert], most: int) -> list[str]:
    """The `most` questions that are asked about most concerts."""
    counts = Counter(question for concert in concerts for question in concert.questions)
    return [question for question, _ in counts.most_common(most)]
