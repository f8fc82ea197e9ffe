"""The `small` preset: real weights, few frames."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor

from examples.avqa.encoders import Encoders, load_encoders
from examples.avqa.encoders.small_audio import BANDS
from examples.avqa.encoders.small_vision import VisionEncoder
from examples.avqa.errors import UserError
from tests.examples.tiny_videos import sine


@pytest.fixture(scope="module")
def encoders() -> Encoders:
    return load_encoders("small")


def _band(hertz: float) -> int:
    """The band whose centre is nearest: 60 to 7600 Hz in 129 equal steps of the HTK mel scale."""
    low, high, asked = (2595 * math.log10(1 + value / 700) for value in (60, 7600, hertz))
    return round((asked - low) / (high - low) * (BANDS + 1)) - 1


def _audio(encoders: Encoders, wave: npt.NDArray[np.float32]) -> Tensor:
    return encoders.encode_audio(wave.reshape(-1, 16000))


def _scene(left: int | None = None) -> npt.NDArray[np.uint8]:
    """A grey picture [1, 224, 224, 3], with a checkered disc whose left edge is at `left`."""
    picture = np.full((224, 224, 3), 120, dtype=np.uint8)
    if left is not None:
        y, x = np.mgrid[:224, :224]
        disc = (x - left - 16) ** 2 + (y - 112) ** 2 < 16**2
        picture[disc] = np.where((x // 4 + y // 4) % 2, 250, 5)[disc][:, None]
    return picture[None]


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"unknown encoder preset 'large'.*small"):
        load_encoders("large")


def test_shapes_are_as_announced(encoders: Encoders) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 60, 3), dtype=np.uint8)
    video, patches = encoders.encode_video(frames)
    audio = _audio(encoders, sine(3))
    question, words, padding_mask = encoders.encode_text(["Is there a violin?", "How many?"])
    assert video.shape == (3, encoders.dims.video)
    assert patches.shape == (3, *encoders.dims.patches)
    assert audio.shape == (3, encoders.dims.audio)
    assert question.shape == (2, encoders.dims.question)
    assert words.shape == (2, 5, encoders.dims.words)
    assert padding_mask.tolist() == [[False] * 5, [False] * 3 + [True] * 2]
    assert all(t.dtype == torch.float32 for t in (video, patches, audio, question, words))
    # Tensors born in inference mode could not be trained on.
    assert not any(t.is_inference() for t in (video, patches, audio, question, words))


@pytest.mark.usefixtures("read_anew")
def test_encoding_repeats_and_leaves_random_numbers_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second = load_encoders("small"), load_encoders("small")
    frames = _scene(50)
    assert all(map(torch.equal, first.encode_video(frames), second.encode_video(frames)))
    assert all(map(torch.equal, first.encode_text(["a drum"]), second.encode_text(["a drum"])))
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("hertz", [100.0, 440.0, 3000.0])
def test_a_sine_peaks_in_its_band(encoders: Encoders, hertz: float) -> None:
    mean = _audio(encoders, sine(1, hertz=hertz))[0, :BANDS]
    nearest = _band(hertz)
    assert abs(int(mean.argmax()) - nearest) <= 1
    # Far bands are silent.
    assert mean.max() - mean[(nearest + 64) % BANDS] > 8


def test_white_noise_is_smooth_over_the_bands(encoders: Encoders) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(160000)).astype(np.float32)
    audio = _audio(encoders, noise).mean(dim=0)
    # With too short a transform the low bands hold one bin or a part of it, and neighbours differ by up to 1.4.
    assert audio[:BANDS].diff().abs().max() < 0.2
    assert audio[BANDS:].min() > 0.1


def test_silence_is_the_floor_without_deviation(encoders: Encoders) -> None:
    audio = _audio(encoders, np.zeros(16000, dtype=np.float32))[0]
    assert torch.allclose(audio[:BANDS], torch.tensor(1e-3).log(), atol=1e-5)
    assert not audio[BANDS:].any()


def test_a_beat_shows_in_the_deviation(encoders: Encoders) -> None:
    steady, beaten = sine(1), sine(1)
    beaten[(np.arange(16000) // 2000) % 2 == 1] = 0
    band = _band(440)
    assert _audio(encoders, beaten)[0, BANDS + band] > 20 * _audio(encoders, steady)[0, BANDS + band]


def test_a_second_of_sound_does_not_see_its_neighbours(encoders: Encoders) -> None:
    wave = sine(3, tone=(1, 2))
    audio = _audio(encoders, wave)
    assert torch.equal(audio[0], audio[2])
    assert torch.allclose(audio[1], _audio(encoders, wave[16000:32000])[0], atol=1e-4)


def test_the_network_is_the_pretrained_one(encoders: Encoders) -> None:
    matplotlib = find_spec("matplotlib")
    assert matplotlib is not None
    assert matplotlib.origin is not None
    photo = Path(matplotlib.origin).parent / "mpl-data" / "sample_data" / "grace_hopper.jpg"
    with Image.open(photo) as image:
        frames = np.asarray(image.convert("RGB"))[None].copy()
    vision = VisionEncoder()
    video, patches = vision(torch.from_numpy(frames))
    probabilities = vision.network._fc(video).softmax(dim=-1)[0]
    # ImageNet's class "military uniform"; 0.37 with another normalisation of the picture.
    assert int(probabilities.argmax()) == 652
    assert probabilities[652] > 0.42
    assert torch.allclose(patches[..., :1280].mean(dim=1), video, atol=1e-5)


def test_column_tokens_tell_left_from_right(encoders: Encoders) -> None:
    empty = encoders.encode_video(_scene()).patches
    drawn = encoders.encode_video(np.concatenate([_scene(left=32 * column) for column in range(7)])).patches
    change = (drawn - empty).norm(dim=-1)  # [where the disc is, column]
    # The network sees far around each column: the strongest change may stand one beside the disc.
    assert (change.argmax(dim=-1) - torch.arange(7)).abs().max() <= 1
    places = change @ torch.arange(7.0) / change.sum(dim=-1)
    assert bool((places.diff() > 0.2).all())
    assert change[0, :2].min() > 5 * change[0, 4:].max()
    assert change[6, 5:].min() > 5 * change[6, :3].max()


def test_columns_carry_distinct_codes_that_the_picture_does_not_change(encoders: Encoders) -> None:
    frames = np.concatenate([_scene(), _scene(left=90)])
    codes = encoders.encode_video(frames).patches[..., 1280:]
    assert torch.equal(codes[0], codes[1])
    assert torch.cdist(codes[0], codes[0]).fill_diagonal_(9).min() > 0.5


def test_a_frame_does_not_depend_on_its_clip_or_size(encoders: Encoders) -> None:
    frames = np.concatenate([_scene(left) for left in (10, 60, 110, 160, 190)])
    together = encoders.encode_video(frames).video
    alone = torch.cat([encoders.encode_video(frame[None]).video for frame in frames])
    assert torch.allclose(together, alone, atol=1e-4)
    doubled = np.repeat(np.repeat(frames, 2, axis=1), 2, axis=2)
    larger = encoders.encode_video(doubled).video
    assert torch.nn.functional.cosine_similarity(larger, together).min() > 0.95


def test_similar_questions_lie_close(encoders: Encoders) -> None:
    question, _, _ = encoders.encode_text(
        ["Which instrument plays first?", "What instrument starts playing first?", "How many cats sleep on the roof?"]
    )
    similarity = question @ question.T
    assert torch.allclose(similarity.diagonal(), torch.ones(3), atol=1e-5)
    assert similarity[0, 1] > 0.8 > 0.3 > similarity[0, 2]


def test_a_text_does_not_depend_on_its_batch(encoders: Encoders) -> None:
    texts = ["Is there a tuba?", "Where is the loudest instrument, and how long does it play in all?", "drum", ""]
    texts += [f"How many of the {n} instruments are playing now?" for n in range(70)]
    together = encoders.encode_text(texts)
    for i in (0, 1, 2, 3, 40):
        alone = encoders.encode_text([texts[i]])
        present = ~together.padding_mask[i]
        assert torch.allclose(together.question[i], alone.question[0], atol=1e-5)
        assert torch.allclose(together.words[i][present], alone.words[0][~alone.padding_mask[0]], atol=1e-4)
        assert not together.words[i][~present].any()


def test_words_are_those_of_the_text(encoders: Encoders) -> None:
    names = encoders.encode_text(["acoustic_guitar", "acoustic guitar"])
    assert torch.equal(names.words[0], names.words[1])
    assert (~names.padding_mask).sum(dim=1).tolist() == [2, 2]
    empty = encoders.encode_text([""])
    assert bool(empty.padding_mask.all())
    long = encoders.encode_text(["violin " * 300])
    assert long.words.shape == (1, 24, 384)
    assert bool(long.words.isfinite().all())
    assert encoders.encode_text([]).question.shape == (0, 384)
