"""The sound of the `small` preset: mean and deviation of a log-mel spectrogram over each second."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLE_RATE = 16000
BANDS = 128
AUDIO_DIM = 2 * BANDS

_WINDOW = 400  # 25 ms
_HOP = 160  # 10 ms
# Padded far beyond the window: the lowest bands are 26 Hz wide, narrower than the bins of a 512-point transform.
_FFT = 2048
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 7600.0
# Of the power of unnormalised 16-bit-like windows: about 70 dB below a full-scale sine.
_FLOOR = 1e-3


def log_mel_statistics(waveform: Tensor) -> Tensor:
    """Mean and standard deviation of the log-mel bands over each second.

    No analysis window crosses from one second into the next, so row t depends on second t alone.

    Args:
        waveform: [T, 16000] float32, in [-1, 1].

    Returns:
        [T, 256]: 128 means, then 128 standard deviations, of ln(power + 1e-3).
    """
    windows = waveform.unfold(-1, _WINDOW, _HOP) * torch.hann_window(_WINDOW, device=waveform.device)
    power = torch.fft.rfft(windows, n=_FFT).abs().square()
    log_mel = (power @ _filterbank().to(waveform.device) + _FLOOR).log()
    std, mean = torch.std_mean(log_mel, dim=-2, correction=0)
    return torch.cat((mean, std), dim=-1)


def _band_edges() -> Tensor:
    """Where bands begin and end, [130] in Hz, equally spaced on the HTK mel scale; each but the ends is a centre."""
    lowest, highest = (2595 * torch.log10(1 + torch.tensor([_LOWEST_HZ, _HIGHEST_HZ]).double() / 700)).tolist()
    mel = torch.linspace(lowest, highest, BANDS + 2, dtype=torch.float64)
    return 700 * (10 ** (mel / 2595) - 1)


def _filterbank() -> Tensor:
    """Triangles of height 1 from one band's centre to the next, [1025, 128] float32."""
    bins = torch.arange(_FFT // 2 + 1, dtype=torch.float64)[:, None] * (SAMPLE_RATE / _FFT)
    edges = _band_edges()
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()
