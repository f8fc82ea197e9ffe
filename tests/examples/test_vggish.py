"""VGGish: the front end against the released definition written out, the network's names, shapes and order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from examples.avqa.encoders.vggish import VGGish, VGGishSize, load_vggish, log_mel_examples
from examples.avqa.errors import UserError


def as_published(second: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The log-mel definition of the released model, sample by sample and bin by bin: [96, 64]."""
    hann = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    mels = [1127 * math.log(1 + f / 700) for f in (125.0, 7500.0)]
    edges = np.linspace(mels[0], mels[1], 66)
    bank = np.zeros((257, 64))
    for k in range(1, 257):
        mel = 1127 * math.log(1 + k * 16000 / 512 / 700)
        for band in range(64):
            left, centre, right = edges[band : band + 3]
            bank[k, band] = max(0.0, min((mel - left) / (centre - left), (right - mel) / (right - centre)))
    rows = []
    for start in range(0, 96 * 160, 160):
        windowed = second[start : start + 400] * hann
        rows.append(np.log(np.abs(np.fft.rfft(windowed, 512)) @ bank + 0.01))
    return np.array(rows)


def sounds() -> dict[str, npt.NDArray[np.float64]]:
    time = np.arange(16000) / 16000
    return {
        "sine": 0.5 * np.sin(2 * math.pi * 440 * time),
        "noise": np.random.default_rng(0).uniform(-1, 1, 16000),
        "silence": np.zeros(16000),
    }


@pytest.mark.parametrize("name", ["sine", "noise", "silence"])
def test_the_front_end_is_the_published_one(name: str) -> None:
    wave = sounds()[name]
    wanted = torch.from_numpy(as_published(wave))
    got = log_mel_examples(torch.from_numpy(wave).unsqueeze(0))
    torch.testing.assert_close(got[0], wanted, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        log_mel_examples(torch.from_numpy(wave).float().unsqueeze(0))[0].double(), wanted, rtol=1e-4, atol=1e-3
    )


def test_silence_is_the_offset_and_a_sine_is_loudest_in_its_band() -> None:
    waves = torch.stack([torch.from_numpy(wave) for wave in sounds().values()]).float()
    sine, _, silence = log_mel_examples(waves)
    torch.testing.assert_close(silence, torch.full((96, 64), math.log(0.01)))
    edges = 700 * np.expm1(np.linspace(math.log(1 + 125 / 700), math.log(1 + 7500 / 700), 66))
    band = int(sine.mean(0).argmax())
    assert edges[band] < 440 < edges[band + 2]


def test_each_second_is_one_example_of_its_own() -> None:
    waves = torch.rand(5, 16000)
    together = log_mel_examples(waves)
    assert together.shape == (5, 96, 64)
    torch.testing.assert_close(torch.cat([log_mel_examples(wave.unsqueeze(0)) for wave in waves]), together)
    # The last 25 ms belong to no example: the last window ends at 0.975 s.
    waves[:, 15600:] = 1.0
    assert torch.equal(log_mel_examples(waves), together)


def test_names_and_shapes_are_the_well_known_ones() -> None:
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in VGGish().state_dict().items()}
    channels = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256), 11: (512, 256), 13: (512, 512)}
    wanted: dict[str, tuple[int, ...]] = {}
    for number, (out, into) in channels.items():
        wanted |= {f"features.{number}.weight": (out, into, 3, 3), f"features.{number}.bias": (out,)}
    for number, (wide, narrow) in {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}.items():
        wanted |= {f"embeddings.{number}.weight": (wide, narrow), f"embeddings.{number}.bias": (wide,)}
    assert shapes == wanted


def test_a_file_is_loaded_and_channels_come_last(tmp_path: Path) -> None:
    model = VGGish(VGGishSize(channels=(4, 4, 8, 8, 8, 8), hidden=16))
    # Files of the whole pipeline hold the PCA, too.
    torch.save(model.state_dict() | {"pproc.pca_means": torch.zeros(128, 1)}, tmp_path / "vggish.pth")
    loaded = load_vggish(tmp_path / "vggish.pth")
    examples = torch.rand(2, 96, 64)
    got = loaded(examples)
    assert got.shape == (2, 128)
    assert not got.requires_grad
    assert bool((got >= 0).all())
    with torch.no_grad():
        hidden = model.features(examples.unsqueeze(1))
        # Time, band, channel: the order in which the first linear layer was trained.
        flat = torch.stack([hidden[:, c, t, b] for t in range(6) for b in range(4) for c in range(8)], dim=1)
        torch.testing.assert_close(got, model.embeddings(flat))


def _wrong(state: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "missing": {name: value for name, value in state.items() if name != "features.3.bias"},
        "more": state | {"classifier.bias": torch.zeros(128)},
        "other shape": state | {"embeddings.4.bias": torch.zeros(64)},
        "no dict": [1, 2],
    }


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    said = {
        "missing": "features.3.bias",
        "more": "classifier.bias",
        "other shape": "embeddings.4.bias",
        "no dict": "holds no state dict but list",
    }
    with torch.device("meta"):
        names = VGGish().state_dict()
    # One number each on disk.
    for name, state in _wrong({key: torch.zeros(()).expand(value.shape) for key, value in names.items()}).items():
        torch.save(state, tmp_path / "wrong.pth")
        with pytest.raises(UserError, match=said[name]):
            load_vggish(tmp_path / "wrong.pth")
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(UserError, match=r"text\.pth holds no weights"):
        load_vggish(tmp_path / "text.pth")
    with pytest.raises(UserError, match=r"none\.pth cannot be read"):
        load_vggish(tmp_path / "none.pth")
