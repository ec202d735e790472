"""Signal processing for training the recognizer: a first filter bank, and variations of a voice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hf_stitch.zoo.speech.synthesis import SAMPLING_RATE

if TYPE_CHECKING:
    import numpy as np

# By hand.
LOWEST, HIGHEST = 90.0, 7200.0  # Hz, of the filter bank; 16 kHz hold up to 8000
STRETCH = 0.15  # largest log factor by which speed and pitch together change
EQUALIZER = 6.0  # dB, standard deviation of a smooth random gain over frequency
NOISE = 0.05  # largest standard deviation of white noise, the speech having 1
_PRE_EMPHASIS = 0.97  # the usual one of speech recognition


def filter_bank(length: int, channels: int) -> np.ndarray:
    """Return float32 filters (channels, length): mel-spaced windowed cosines and sines with pre-emphasis folded in."""
    import numpy as np

    low, high = (2595 * np.log10(1 + f / 700) for f in (LOWEST, HIGHEST))
    frequencies = 700 * (10 ** (np.linspace(low, high, channels // 2) / 2595) - 1)
    time = (np.arange(length - 1) - (length - 2) / 2) / SAMPLING_RATE  # one tap less: pre-emphasis adds one
    window = np.hanning(length - 1)
    waves = (wave(2 * np.pi * f * time) for f in frequencies for wave in (np.cos, np.sin))
    return (np.stack([np.convolve(window * w, [1, -_PRE_EMPHASIS]) for w in waves]) / 5).astype(np.float32)


def vary(wave: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return a variation of `wave` (n,): resampled, equalized, noisy, then zero mean and unit variance (n',)."""
    import numpy as np

    factor = np.exp(generator.uniform(-STRETCH, STRETCH))
    wave = np.interp(np.arange(0, len(wave) - 1, factor), np.arange(len(wave)), wave)
    spectrum = np.fft.rfft(wave)
    knots = generator.normal(0, EQUALIZER / 20, 8)
    spectrum *= 10 ** np.interp(np.linspace(0, 1, len(spectrum)) ** 0.5, np.linspace(0, 1, 8), knots)
    wave = np.fft.irfft(spectrum, len(wave))
    wave = (wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)
    wave = wave + generator.uniform(0, NOISE) * generator.standard_normal(len(wave))
    return ((wave - wave.mean()) / np.sqrt(wave.var() + 1e-7)).astype(np.float32)
