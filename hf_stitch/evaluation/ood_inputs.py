"""Inputs that no recipe's data hold, on which a trust score should be low."""

from __future__ import annotations

from typing import Any

import numpy as np

from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import Samples

COUNT = 32  # of each kind; by hand
SECONDS = 4  # of sound, at most; by hand
OUTSIDE = {"just outside the box": (1.0, 2.0), "outside the box": (2.0, 3.0)}
"""How far out points lie, in half widths of the box that holds the fit's inputs; by hand."""


def ood_inputs(preparer: Preparer, test: Samples, fit: Samples, seed: int) -> dict[str, list[Any]]:
    """At most 32 raw inputs of each kind, a function of the seed; none for other kinds of input.

    Sounds: white noise, silence and tones (80 Hz to 4 kHz), as long and as loud as test samples, and those played
    backwards. Texts: test samples with each letter replaced by a random one. Numbers: points 1 to 2 and 2 to 3 times as
    far out as the box of the fit's inputs.
    """
    draw = np.random.default_rng(seed)
    count = min(COUNT, len(test))
    if preparer.modality == "audio":
        sounds = [np.asarray(test.source(i))[: SECONDS * preparer.rate] for i in range(count)]
        return _sounds(sounds, preparer.rate, draw)
    if preparer.modality == "text":
        return {"random letters": [_scrambled(str(test.source(i)), draw) for i in range(count)]}
    if preparer.modality == "vector":
        inputs = np.stack(fit.batch(range(len(fit)), 0))
        return {name: list(_outside(inputs, count, span, draw)) for name, span in OUTSIDE.items()}
    return {}


def _sounds(sounds: list[np.ndarray], rate: int, draw: np.random.Generator) -> dict[str, list[Any]]:
    loud = float(np.sqrt(np.mean([np.square(one).mean() for one in sounds])))
    # By hand: about where speech lies; below half the rate, with room, so that no tone is folded back.
    pitches = np.geomspace(80, min(4000, rate / 2.5), len(sounds))
    tones = [
        np.sqrt(2) * loud * np.sin(2 * np.pi * pitch / rate * np.arange(len(one)))
        for one, pitch in zip(sounds, pitches)
    ]
    return {
        "white noise": [(loud * draw.standard_normal(len(one))).astype(np.float32) for one in sounds],
        "silence": [np.zeros(len(one), np.float32) for one in sounds],
        "tones": [tone.astype(np.float32) for tone in tones],
        "backwards": [np.ascontiguousarray(one[::-1], np.float32) for one in sounds],
    }


def _scrambled(text: str, draw: np.random.Generator) -> str:
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    return "".join(str(draw.choice(letters)) if one.isalpha() else one for one in text)


def _outside(inputs: np.ndarray, count: int, span: tuple[float, float], draw: np.random.Generator) -> np.ndarray:
    low, high = inputs.min(0), inputs.max(0)
    mode = draw.uniform(-1, 1, (count, inputs.shape[1]))
    # Onto the surface of the box: the factor that follows is then how many half widths a point lies out.
    mode /= np.abs(mode).max(1, keepdims=True).clip(1e-12)
    return (low + high) / 2 + mode * draw.uniform(*span, (count, 1)) * (high - low) / 2
