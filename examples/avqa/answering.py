"""A trained model that answers questions about video files: a clip is encoded once, then asked any number of times.

T seconds, A answers, K experts in use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from .annotations import question_text
from .clips import SAMPLE_RATE, ClipFeatures, Length, encode_clip
from .config import DataConfig
from .data import NO_ANSWER, Batch
from .encoders import Encoders, load_encoders
from .errors import UserError
from .features import FeatureFolder
from .fit import load_model
from .media import MediaInfo, probe, read_audio, read_frames, whole_seconds
from .module import AVQAModule
from .picture import Looked, draw_answer
from .prompts import declarative_text
from .run_data import check_widths, load_data_config

DEFAULT_RUN = Path("runs/demo")
NOTHING_TO_DRAW = "No picture: this model has no experts whose Gaussians could be drawn."
DRAWN_HEIGHT = 240
"""Frames are read no higher than the picture needs them, and no more: a long video's would fill the memory."""
DRAWN_FRAMES = 240


@dataclass(frozen=True)
class WatchedClip:
    """A video file that was encoded."""

    video: Path
    info: MediaInfo
    seconds: int
    """How many were looked at, the first ones."""
    features: ClipFeatures

    @property
    def cut(self) -> str | None:
        """Which part was looked at, where it is not the whole."""
        whole = whole_seconds(self.info.duration)
        return f"the first {self.seconds} of {whole} seconds" if self.seconds < whole else None

    @property
    def cut_told(self) -> str | None:
        """The same as a sentence, with the reason."""
        return self.cut and f"Only {self.cut} were looked at: this model was trained and tested on no more."

    @cached_property
    def strip(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """What is drawn of it, read from the file once.

        Frames [n, H, W, 3], one a second, or 240 where there would be more, and samples [16000 T].
        """
        count = min(self.seconds, DRAWN_FRAMES)
        frames = read_frames(self.video, count / self.seconds, _drawn_size(self.info), most=count)
        sound = read_audio(self.video, SAMPLE_RATE, seconds=self.seconds)
        return frames, np.zeros(SAMPLE_RATE * self.seconds, np.float32) if sound is None else sound.reshape(-1)


class Answer(NamedTuple):
    """What a model says to one question about one clip."""

    question: str
    """As it was asked."""
    ranked: list[tuple[str, float]]
    """The best answers with their probabilities, best first."""
    looked: list[Looked]
    """Each mixture's routing; nothing of a model without mixtures."""


class Asker:
    """A run's model with the encoders that it was trained with.

    Args:
        run: folder that `fit` wrote.
        weights: folder of the encoders' weights; by default the run's own, or the hub's.

    Raises:
        UserError: the folder is no run, or its model reads other features than the encoders give.
    """

    def __init__(self, run: Path, weights: Path | None = None) -> None:
        self.module = load_model(run)
        self.data = load_data_config(run)
        weights = self.data.weights if weights is None else weights
        self.encoders = load_encoders(self.module.encoder, weights)
        check_widths(self.module, self.encoders, run, weights)
        self.encoders.weights_id("clips")

    def watch(self, video: Path, on_frame: Callable[[int, int], None] | None = None) -> WatchedClip:
        """Encodes a video file, as many of its first seconds as the model was trained and tested on.

        Args:
            video: the file.
            on_frame: told how many frames are read, and of how many.

        Raises:
            UserError: the file is missing, damaged or no video.
        """
        info = probe(video)
        whole = whole_seconds(info.duration)
        seconds = min(whole, most_seconds(self.data, self.encoders) or whole)
        return WatchedClip(video, info, seconds, encode_clip(video, self.encoders, Length(seconds), on_frame))

    def ask(self, clip: WatchedClip, question: str, top: int) -> Answer:
        """The `top` best answers to a question.

        Raises:
            UserError: nothing is asked.
        """
        probabilities, looked = ask(self.module, self.encoders, clip.features, asked_text(question))
        places = probabilities.argsort(descending=True)[:top].tolist()
        ranked = [(self.module.answers[place], float(probabilities[place])) for place in places]
        return Answer(question, ranked, looked)


def draw(path: Path, clip: WatchedClip, answer: Answer) -> None:
    """Saves the picture of an answer whose model has mixtures; the suffix says the format."""
    frames, waveform = clip.strip
    draw_answer(path, frames, waveform, answer.question, answer.ranked, answer.looked, clip.cut, clip.seconds)


def asked_text(question: str) -> str:
    """A question as it is encoded.

    Raises:
        UserError: nothing is asked.
    """
    text = question_text(question)
    if not text:
        raise UserError('question: nothing is asked; give a question in words, such as "How many instruments sound?"')
    return text


def most_seconds(data: DataConfig, encoders: Encoders) -> int | None:
    """How many seconds of a clip a run was trained and tested on at most; None where clips were taken whole.

    The run's features tell how they were cut, where they are still there; else it is as the preset cuts.
    """
    record = None if data.features is None else FeatureFolder(data.features, encoders.folders).some_record()
    length = Length(encoders.seconds) if record is None else Length(record.seconds, record.keep_long)
    return min((most for most in (length.most, data.frames) if most is not None), default=None)


@torch.inference_mode()
def ask(module: AVQAModule, encoders: Encoders, clip: ClipFeatures, text: str) -> tuple[torch.Tensor, list[Looked]]:
    """Probabilities [A] of the answers, and where each mixture looked; nothing for a model without mixtures."""
    encoded = encoders.encode_text([text])
    prompt = None
    if module.config.architecture == "tspm":
        prompt = encoders.encode_text([declarative_text(text)]).question.unsqueeze(0)
    output = module(
        Batch(
            audio=clip.audio.unsqueeze(0),
            video=clip.video.unsqueeze(0),
            patches=clip.patches.unsqueeze(0),
            padding_mask=None,
            question=encoded.question.unsqueeze(0),
            words=encoded.words.unsqueeze(0),
            words_padding_mask=encoded.padding_mask.unsqueeze(0),
            answers=torch.full((1, 1), NO_ANSWER),
            numbers=torch.zeros(1, 1, dtype=torch.int64),
            prompt=prompt,
        )
    )
    routings = {"sound": output.audio_routing, "sight": output.visual_routing}
    pooling = module.config.pooling
    looked = [Looked(name, routing, pooling) for name, routing in routings.items() if routing is not None]
    return output.logits[0, 0].softmax(-1), looked


def _drawn_size(info: MediaInfo) -> tuple[int, int]:
    """(height, width) in the video's own proportions, up to where a strip of a picture would fill the memory."""
    return DRAWN_HEIGHT, min(max(round(DRAWN_HEIGHT * info.width / info.height), 1), 8 * DRAWN_HEIGHT)
