"""What the page does when something is picked, uploaded or asked, without the page itself."""

from __future__ import annotations

import base64
import html
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, NamedTuple

from .answering import NOTHING_TO_DRAW, Answer, Asker, WatchedClip, draw
from .errors import UserError
from .rendered import Concert
from .uploads import Limits, Uploads

Source = Literal["concert", "upload"]
OnFrame = Callable[[int, int], None] | None
"""Told how many frames of a clip are read, and of how many."""
TOP = 5
"""So many answers are shown."""
LONGEST_QUESTION = 500
"""In letters: longer ones say no more to the model, and would be drawn into the picture."""
HINT = '<p class="told hint">Choose a question, or type one.</p>'
_KEPT_CLIPS = 8
"""So many clips stay encoded: each takes up to some 100 MB."""


class Shown(NamedTuple):
    """What the page shows as an answer."""

    message: str
    """HTML: a hint, an error, or whether the answer is true."""
    probabilities: dict[str, float] | None = None
    picture: str = ""
    """HTML."""


class Picked(NamedTuple):
    """What a visitor has before them."""

    source: Source
    concert: str | None
    upload: Path | None


class PageActions:
    """One model for all visitors, with the clips that were asked about last.

    Args:
        asker: the model.
        concerts: those that may be picked, by id.
        limits: of uploads.
        uploads: the files of its visitors.
    """

    def __init__(self, asker: Asker, concerts: Mapping[str, Concert], limits: Limits, uploads: Uploads) -> None:
        self.concerts = concerts
        self.uploads = uploads
        self._asker = asker
        self._limits = limits
        self._clips: OrderedDict[Path, WatchedClip] = OrderedDict()

    def ask(self, picked: Picked, question: str, on_frame: OnFrame = None) -> Shown:
        """Answers a question about the picked clip, which is encoded if it is new. A fault is told as the answer."""
        video = self._video(picked)
        if video is None:
            return Shown(_paragraph("hint", "Pick a concert or upload a clip first."))
        try:
            if len(question) > LONGEST_QUESTION:
                raise UserError(f"question: it has {len(question)} letters; ask in {LONGEST_QUESTION} at most")
            return self._answered(picked, self._watched(picked.source, video, on_frame), question)
        except UserError as error:
            return Shown(_fault(error, video))

    def look(self, picked: Picked, question: str, on_frame: OnFrame = None) -> Shown:
        """What follows another clip: the question at hand is asked of it; without one an upload is only encoded."""
        video = self._video(picked)
        if video is None or question.strip():
            return self.ask(picked, question, on_frame)
        if picked.source == "upload":
            try:
                self._watched(picked.source, video, on_frame)
            except UserError as error:
                return Shown(_fault(error, video))
            return Shown(_paragraph("hint", f"{video.name} is read. Choose a question, or type one."))
        return Shown(HINT)

    def hold(self, session: str, upload: Path | None) -> None:
        """Notes a visitor's upload, in place of the one before, which is removed; None when they leave."""
        for removed in self.uploads.hold(session, upload):
            self._clips.pop(removed, None)

    def take(self, session: str, upload: Path) -> Shown | None:
        """What is wrong with an upload that is held, by its header; it is then removed at once."""
        try:
            self._limits.check(upload)
        except UserError as error:
            self.hold(session, None)
            return Shown(_fault(error, upload))
        return None

    def _video(self, picked: Picked) -> Path | None:
        if picked.source == "upload":
            return picked.upload
        # Looked up, so that no path can be asked for.
        concert = self.concerts.get(picked.concert or "")
        return concert and concert.video

    def _watched(self, source: Source, video: Path, on_frame: OnFrame) -> WatchedClip:
        if video in self._clips:
            self._clips.move_to_end(video)
            return self._clips[video]
        if source == "upload":
            self._limits.check(video)
        clip = self._asker.watch(video, on_frame)
        # Read now: the file of an upload may be gone when the next question comes.
        _ = clip.strip
        # Its visitor may have left meanwhile.
        if video.exists():
            self._clips[video] = clip
        if len(self._clips) > _KEPT_CLIPS:
            self._clips.popitem(last=False)
        return clip

    def _answered(self, picked: Picked, clip: WatchedClip, question: str) -> Shown:
        answer = self._asker.ask(clip, question, TOP)
        lines = []
        truth = self.concerts[picked.concert or ""].answer_to(question) if picked.source == "concert" else None
        if truth is not None:
            right = answer.ranked[0][0] == truth
            lines.append(_paragraph("right" if right else "wrong", _judged(right, truth)))
        notes = [
            "The video has no sound." if clip.features.silent else None,
            clip.cut_told,
            None if answer.looked else NOTHING_TO_DRAW,
        ]
        lines += [_paragraph("hint", note) for note in notes if note]
        return Shown("".join(lines), dict(answer.ranked), _picture(clip, answer) if answer.looked else "")


def told(error: UserError, video: Path) -> str:
    """An error as the command line tells it, with the file's own name in place of where it lies."""
    return str(error).replace(str(video), video.name)


def _judged(right: bool, truth: str) -> str:
    return "The model is right: so the scene was rendered." if right else f"The model is wrong. True is: {truth}."


def _fault(error: UserError, video: Path) -> str:
    return f'<p class="told error" role="alert">{html.escape(told(error, video))}</p>'


def _paragraph(kind: str, text: str) -> str:
    return f'<p class="told {kind}">{html.escape(text)}</p>'


def _picture(clip: WatchedClip, answer: Answer) -> str:
    """The picture inside the page itself: no file of it stays."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "answer.png"
        draw(path, clip, answer)
        data = base64.b64encode(path.read_bytes()).decode()
    alt = html.escape(f"{clip.video.name}: frames, waveform and where the experts looked for: {answer.question}")
    return f'<div class="looked"><img src="data:image/png;base64,{data}" alt="{alt}"></div>'
