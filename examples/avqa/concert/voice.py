"""A synthetic speaking voice: vowels by their formants, in the rhythm of syllables, words and phrases."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# First three formants of vowels, in Hz, as of an average adult.
VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
    (490, 1350, 1690),
)
BANDWIDTHS = (80.0, 100.0, 140.0)
STEP = 0.01
"""Seconds between two points of the pitch and formant tracks."""


def speak(duration: float, sample_rate: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Speech-like sound without words, [samples], of no particular level."""
    points = int(np.ceil(duration / STEP)) + 2
    voice, breath, formants = _syllables(points, rng)
    pitch = rng.uniform(95, 210) * _intonation(points, rng)
    samples = round(duration * sample_rate)
    at = np.arange(samples) / sample_rate / STEP
    track = np.arange(points)
    phase = 2 * np.pi * np.cumsum(np.interp(at, track, pitch)) / sample_rate
    sound = np.zeros(samples)
    for harmonic in range(1, int(3800 / pitch.mean()) + 1):
        strength = voice * _resonance(harmonic * pitch, formants) / harmonic
        sound += np.interp(at, track, strength) * np.sin(harmonic * phase)
    hiss = np.diff(rng.standard_normal(samples + 1))
    level = np.abs(sound).max() or 1.0
    return (sound + 0.12 * level * np.interp(at, track, breath) * hiss).astype(np.float32)


def _syllables(points: int, rng: np.random.Generator) -> tuple[npt.NDArray[np.float64], ...]:
    """Loudness of voice and of breath, and the formants, along the track."""
    voice, breath, formants = np.zeros(points), np.zeros(points), np.full((points, 3), 500.0)
    size = rng.uniform(0.9, 1.2)
    place, left = 0, int(rng.integers(4, 12))
    while place < points:
        consonant, vowel = int(rng.integers(4, 9)), int(rng.integers(9, 20))
        breath[place : place + consonant] = rng.uniform(0.2, 1.0) * (rng.random() < 0.6)
        start, stop = place + consonant, min(place + consonant + vowel, points)
        if stop > start:
            voice[start:stop] = np.sin(np.linspace(0.15, np.pi - 0.1, stop - start)) * rng.uniform(0.6, 1.0)
        formants[place : place + consonant + vowel] = np.array(VOWELS[int(rng.integers(len(VOWELS)))]) * size
        place, left = place + consonant + vowel, left - 1
        if left == 0:
            place, left = place + int(rng.integers(20, 50)), int(rng.integers(4, 12))
    kernel = np.ones(5) / 5
    smooth = np.stack([np.convolve(np.pad(track, 2, mode="edge"), kernel, "valid") for track in formants.T], axis=1)
    return voice, breath, smooth


def _intonation(points: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Pitch rises and falls with the phrases."""
    knots = rng.uniform(0.85, 1.2, size=points // 40 + 2)
    return np.interp(np.linspace(0, len(knots) - 1, points), np.arange(len(knots)), knots)


def _resonance(frequency: npt.NDArray[np.float64], formants: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """How strongly the mouth passes a frequency."""
    passed = sum(1 / (1 + ((frequency - formants[:, n]) / width) ** 2) / (n + 1) for n, width in enumerate(BANDWIDTHS))
    return np.asarray(passed) + 0.02
