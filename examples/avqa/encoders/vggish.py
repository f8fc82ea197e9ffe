"""VGGish, the sound of the preset `paper`: its log-mel front end and its network, under the well-known weight names.

Hershey et al., CNN Architectures for Large-Scale Audio Classification (ICASSP 2017); the front end is that of the
released AudioSet model. One example of 0.96 s is taken for each second, and the last ReLU is kept, as QA-TIGER does;
there is no PCA.

T seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UserError
from .state_file import read_state

SAMPLE_RATE = 16000
BANDS = 64
STEPS = 96  # of 10 ms in one example
AUDIO_DIM = 128

_WINDOW = 400  # 25 ms
_HOP = 160  # 10 ms
_FFT = 512
_LOWEST_HZ, _HIGHEST_HZ = 125.0, 7500.0
_OFFSET = 0.01


def log_mel_examples(waveform: Tensor) -> Tensor:
    """`log(mel + 0.01)` of the first 0.96 s of each second.

    Windows of 25 ms every 10 ms, periodic Hann; magnitudes, not powers, in 64 triangles on the mel scale.

    Args:
        waveform: [T, 16000] float32, in [-1, 1].

    Returns:
        [T, 96, 64]
    """
    window = torch.hann_window(_WINDOW, dtype=waveform.dtype, device=waveform.device)
    windows = waveform.unfold(-1, _WINDOW, _HOP)[:, :STEPS] * window
    magnitude = torch.fft.rfft(windows, n=_FFT).abs()
    log_mel: Tensor = (magnitude @ _filterbank().to(magnitude) + _OFFSET).log()
    return log_mel


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()


@cache
def _filterbank() -> Tensor:
    """Triangles of height 1 that are straight on the mel scale, [257, 64] float64; nothing listens to the mean."""
    bins = _mel(torch.arange(_FFT // 2 + 1, dtype=torch.float64) * (SAMPLE_RATE / _FFT)).unsqueeze(-1)
    lowest, highest = _mel(torch.tensor([_LOWEST_HZ, _HIGHEST_HZ], dtype=torch.float64)).tolist()
    edges = torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    bank = torch.minimum(rising, falling).clamp(min=0)
    bank[0] = 0.0
    return bank


class VGGishSize(NamedTuple):
    """Widths of the network; by default those of the released one."""

    channels: tuple[int, ...] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    out: int = AUDIO_DIM


# After which convolutions the map is halved.
_POOLED = (0, 1, 3, 5)
_CONVOLUTIONS = (0, 3, 6, 8, 11, 13)


class VGGish(nn.Module):
    """Log-mel examples [T, 96, 64] to embeddings [T, 128], after the last ReLU."""

    def __init__(self, size: VGGishSize = VGGishSize()) -> None:  # noqa: B008  # frozen
        super().__init__()
        layers: list[nn.Module] = []
        for number, (into, out) in enumerate(zip((1, *size.channels), size.channels, strict=False)):
            layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU()]
            if number in _POOLED:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(size.channels[-1] * (STEPS // 16) * (BANDS // 16), size.hidden),
            nn.ReLU(),
            nn.Linear(size.hidden, size.hidden),
            nn.ReLU(),
            nn.Linear(size.hidden, size.out),
            nn.ReLU(),
        )

    def forward(
        self,
        examples: Tensor,  # [T, 96, 64]
    ) -> Tensor:  # [T, 128]
        hidden: Tensor = self.features(examples.unsqueeze(1))  # [T, 512, 6, 4]
        # The weights come from a network that keeps channels last.
        embedded: Tensor = self.embeddings(hidden.permute(0, 2, 3, 1).flatten(1))
        return embedded


def vggish_size(state: Mapping[str, Tensor]) -> VGGishSize:
    """The widths of a state dict's network; the released ones where it holds no such weights."""
    try:
        channels = tuple(state[f"features.{number}.weight"].shape[0] for number in _CONVOLUTIONS)
        return VGGishSize(channels, state["embeddings.0.weight"].shape[0], state["embeddings.4.weight"].shape[0])
    except (KeyError, IndexError):
        return VGGishSize()


def load_vggish(path: Path) -> VGGish:
    """The network with the weights of a PyTorch file (.pth, .pt), for inference.

    Names are `features.{0,3,6,8,11,13}` and `embeddings.{0,2,4}`. Those of the PCA, `pproc.*`, are left out: a file
    may have them, and the features are taken before it.

    Raises:
        UserError: the file cannot be read, or holds other names or shapes; the message says which.
    """
    state = {name: value for name, value in read_state(path).items() if not name.startswith("pproc.")}
    # What would be drawn at random is overwritten anyway.
    with torch.device("meta"):
        model = VGGish(vggish_size(state))
    try:
        model.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise UserError(f"{path} holds no VGGish weights: {' '.join(str(error).split())}") from error
    return model.float().eval().requires_grad_(False)
