"""Forced alignment: the best CTC path that spells a known text."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from hf_stitch.activations.ctc import CtcAlphabet
from hf_stitch.runtime.torchaudio_extra import torchaudio

UNALIGNED = -1
"""Class of every frame where no path spells the text."""


def forced_path(scores: np.ndarray, labels: Sequence[int], blank: int) -> np.ndarray:
    """The most likely path among those that spell `labels`, by torchaudio where it is there, else by our own search.

    Args:
        scores: (t, classes) float32 log probabilities. labels: classes, none of them the blank.

    Returns:
        (t,) int64 class of each frame; `UNALIGNED` throughout where the labels are none or do not fit into t frames.
    """
    repeats = sum(a == b for a, b in itertools.pairwise(labels))
    # Between two equal labels CTC needs a blank, and with it a frame more.
    if not labels or len(scores) < len(labels) + repeats:
        return np.full(len(scores), UNALIGNED, np.int64)
    module = torchaudio().module
    if module is None:
        return viterbi(scores, labels, blank)
    emission, wanted = torch.from_numpy(scores)[None], torch.tensor([list(labels)], dtype=torch.int32)
    return module.functional.forced_align(emission, wanted, blank=blank)[0][0].long().numpy()


def viterbi(scores: np.ndarray, labels: Sequence[int], blank: int) -> np.ndarray:
    """The same by dynamic programming over the labels with a blank before, between and after them.

    Of equally likely ways a frame stays where it is, as torchaudio decides.
    """
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    jumps = np.zeros(len(states), bool)  # over the blank between two different labels
    jumps[3::2] = states[3::2] != states[1:-2:2]
    # float32 as torchaudio's: float64 would break near ties in another way.
    best = np.full(len(states), -np.inf, np.float32)
    best[:2] = scores[0, states[:2]]
    back = np.zeros((len(scores), len(states)), np.int8)
    for t in range(1, len(scores)):
        step = np.concatenate([[-np.inf], best[:-1]]).astype(np.float32)
        jump = np.where(jumps, np.concatenate([[-np.inf, -np.inf], best[:-2]]), -np.inf).astype(np.float32)
        back[t] = np.where((jump > best) & (jump > step), 2, step > best)
        best = np.maximum(np.maximum(best, step), jump) + scores[t, states]
    place = len(states) - 1 if best[-1] > best[-2] else len(states) - 2
    path = np.empty(len(scores), np.int64)
    for t in range(len(scores) - 1, -1, -1):
        path[t] = states[place]
        place -= int(back[t, place])
    return path


def spelled(text: str, alphabet: CtcAlphabet) -> list[int]:
    """Classes that spell a text, words apart by the delimiter; what the alphabet cannot spell is left out."""
    known = {symbol: number for number, symbol in alphabet.symbols.items() if len(symbol) == 1}
    found: list[int] = []
    for word in text.split():
        own = [known.get(letter, known.get(letter.upper(), known.get(letter.lower()))) for letter in word]
        classes = [one for one in own if one is not None]
        found += ([alphabet.delimiter] if found and classes else []) + classes
    return found
