"""The `answer` command: one video, one question, the best answers, and a picture of where the model looked."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from .annotations import question_text
from .clips import ClipFeatures, Length, encode_clip
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
DRAWN_HEIGHT = 240
"""Frames are read no higher than the picture needs them: a long video's would fill the memory."""


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
    text = question_text(question)
    if not text:
        raise UserError('question: nothing is asked; give a question in words, such as "How many instruments sound?"')
    if picture is not None and picture.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise UserError(f"picture: {picture} must end in .png, .pdf or .svg")
    module = load_model(run)
    data = load_data_config(run)
    weights = data.weights if weights is None else weights
    encoders = load_encoders(module.encoder, weights)
    check_widths(module, encoders, run, weights)
    encoders.weights_id("clips")
    info = probe(video)
    whole = whole_seconds(info.duration)
    seconds = min(whole, most_seconds(data, encoders) or whole)
    clip = encode_clip(video, encoders, Length(seconds))
    probabilities, looked = ask(module, encoders, clip, text)
    ranked = probabilities.argsort(descending=True)[:top].tolist()
    answers = [(module.answers[place], float(probabilities[place])) for place in ranked]
    Console().print(_table(answers, clip.silent))
    cut = f"the first {seconds} of {whole} seconds" if seconds < whole else None
    if cut:
        print(f"Only {cut} were looked at: this model was trained and tested on no more.")
    if not looked:
        print("No picture: this model has no experts whose Gaussians could be drawn.")
        return
    out = picture or run / "answers" / f"{video.stem}-{_slug(text)}.png"
    frames, sound = read_frames(video, size=_drawn_size(info), most=seconds), read_audio(video, seconds=seconds)
    waveform = np.zeros(16000 * seconds, np.float32) if sound is None else sound.reshape(-1)
    draw_answer(out, frames, waveform, question, answers, looked, cut)
    print(f"Picture: {out}")


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
    """(height, width) in the video's own proportions."""
    return DRAWN_HEIGHT, max(round(DRAWN_HEIGHT * info.width / info.height), 1)


def _table(answers: list[tuple[str, float]], silent: bool) -> Table:
    title = "the video has no sound" if silent else None
    table = Table("answer", "probability", "", title=title)
    for name, probability in answers:
        table.add_row(name, f"{probability:.3f}", "█" * round(30 * probability))
    return table


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:48]
