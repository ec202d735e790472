"""Which rows of the source correspond to which rows of the target, and the length rule that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activation_set import ActivationSet
from hf_stitch.collection import Frames
from hf_stitch.ends import End, alphabet_of
from hf_stitch.errors import FitError, RecipeError
from hf_stitch.manifold.local_metric import LocalMetric
from hf_stitch.ragged import Ragged
from hf_stitch.recipe import Recipe
from hf_stitch.sequences.predictor import LengthPredictor
from hf_stitch.sequences.rule import LengthRule
from hf_stitch.sequences.shapes import Pairs, RuleState, SampleShape
from hf_stitch.sequences.special import SpecialTokens
from hf_stitch.sequences.windows import pool_windows
from hf_stitch.sequences.words import learn_pieces
from hf_stitch.texts import Texts, samples_per_frame


@dataclass(frozen=True)
class Pairing:
    """Corresponding rows of a sample set.

    Attributes:
        pairs: per sample, the windows on both sides and the positions.
        keys: (n, 2) int64 (sample, position) of all rows.
        dropped: words of the true text that were not recognised.
    """

    pairs: tuple[Pairs, ...]
    keys: Tensor
    dropped: int

    def __len__(self) -> int:
        return len(self.keys)

    def swapped(self) -> Pairing:
        return replace(self, pairs=tuple(replace(p, source=p.target, target=p.source) for p in self.pairs))


def make_rule(recipe: Recipe, source: End, target: End, frames: Frames, texts: Texts | None) -> LengthRule:
    """The length rule of a recipe, with what it learns from the lengths of the fit samples.

    Raises:
        RecipeError: the rule does not suit these models.
    """
    asked = recipe.sequence
    s, t = frames.source.lengths.double(), frames.target.lengths.double()
    state = RuleState(
        length=asked.length,
        target_length=asked.default_length(),
        slice=asked.slice,
        slicing=asked.slicing,
        parts=asked.parts,
        ratio=float((s @ t) / (s @ s)),  # least squares through the origin
        constant=int(t.median()),
        padding_side=getattr(target.tokenizer, "padding_side", "right"),
    )
    if asked.length == "ctc":
        state.alphabet = alphabet_of(source).to_dict()
        assert texts is not None
        state.before, state.after = _frame_of(texts)
        state.unit = asked.unit
        state.blanks = any(place is not None for text in texts.blanks for place in text)
        if asked.unit == "token":
            state.pieces, state.tokens_per_character = learn_pieces(texts.words, texts.cuts)
    if asked.length == "spans" and source.preparer.modality == "audio":
        state.stride = samples_per_frame(source)
    rule = LengthRule(state)
    if state.target_length != "predicted":
        return rule
    return rule.with_predictor(LengthPredictor.fit(s, _pooled(source, frames), t))


def _pooled(source: End, frames: Frames) -> Tensor:
    """(n, features) mean activation of each sample on the source's selected features."""
    features = slice(None) if source.features is None else list(source.features)
    return torch.stack([frames.source[i].mean(0)[features] for i in range(len(frames))])


def _frame_of(texts: Texts) -> tuple[list[int], list[int]]:
    """Ids of the special tokens before and after the words; the same for every text, or ctc cannot place them."""
    found = set()
    for i, ids in enumerate(texts.ids):
        special = texts.special(i)
        first = next((k for k in range(len(ids)) if k not in special), len(ids))
        found.add((tuple(ids[k] for k in special if k < first), tuple(ids[k] for k in special if k >= first)))
    if len(found) != 1:
        raise RecipeError("sequence.length: ctc: the target's tokenizer frames different texts differently; use spans")
    before, after = found.pop()
    return list(before), list(after)


def pair_rows(recipe: Recipe, rule: LengthRule, frames: Frames, keys: Sequence[str], texts: Texts | None) -> Pairing:
    """Corresponding rows of all samples, at most `per_sample` of each.

    Raises:
        FitError: no row corresponds.
    """
    if _single(frames, texts) and rule.state.length in ("trim", "resample", "pool") and rule.join == 1:
        one = rule.pairs(SampleShape(source_length=1, target_length=1))
        places = torch.stack([torch.arange(len(frames)), torch.zeros(len(frames), dtype=torch.long)], 1)
        return Pairing((one,) * len(frames), places, 0)
    paths = frames.forced if recipe.sequence.align == "forced" and frames.forced is not None else frames.path
    found, rows, dropped = [], [], 0
    for i in range(len(frames)):
        shape = SampleShape(
            source_length=int(frames.source.lengths[i]),
            target_length=int(frames.target.lengths[i]),
            path=None if paths is None else paths[i].numpy(),
            spans=None if texts is None or texts.spans is None else texts.spans[i],
            words=() if texts is None else texts.words[i],
            word_tokens=() if texts is None else texts.word_tokens[i],
            word_cuts=() if texts is None else texts.cuts[i],
            blanks=() if texts is None else texts.blanks[i],
        )
        pairs = _capped(rule.pairs(shape), recipe.sequence.per_sample, recipe.seed, keys[i])
        found.append(pairs)
        rows += [[i, int(place)] for place in pairs.position]
        dropped += pairs.dropped
    if not rows:
        raise FitError(
            f"sequence.length: {recipe.sequence.length} found no corresponding rows in {len(frames)} samples; "
            "check that source and target inputs say the same, and that the source recognises its words"
        )
    return Pairing(tuple(found), torch.tensor(rows), dropped)


def _single(frames: Frames, texts: Texts | None) -> bool:
    """True when every sample has one timestep on both sides, as flat activations have: all pair alike."""
    lengths = torch.cat([frames.source.lengths, frames.target.lengths])
    return texts is None and frames.path is None and bool((lengths == 1).all())


def _capped(pairs: Pairs, most: int | None, seed: int, key: str) -> Pairs:
    if most is None or len(pairs.position) <= most:
        return pairs
    name = int.from_bytes(hashlib.sha256(f"{seed}\0{key}".encode()).digest()[:8], "little")
    kept = np.sort(np.random.default_rng(name).choice(len(pairs.position), most, replace=False))
    return Pairs(pairs.source[kept], pairs.target[kept], pairs.position[kept], pairs.dropped)


def rows_of(frames: Any, windows: Sequence[np.ndarray]) -> Tensor:
    """Rows (n, K * m) of all samples from their windows (r, K, 2)."""
    flat = all(w is windows[0] for w in windows) and windows[0].tolist() == [[[0, 1]]]
    if flat and isinstance(frames, Ragged) and len(frames.values) == len(frames):
        return frames.values
    return torch.cat(
        [pool_windows(frames[i][None], torch.from_numpy(w)[None])[0] for i, w in enumerate(windows) if len(w)]
    )


def activation_sets(
    source: End, target: End, frames: Frames, pairing: Pairing, metrics: tuple[LocalMetric | None, LocalMetric | None]
) -> tuple[ActivationSet, ActivationSet]:
    """Both sides of the pairing as activation sets."""
    sides = []
    for end, ragged, windows, metric in (
        (source, frames.source, [p.source for p in pairing.pairs], metrics[0]),
        (target, frames.target, [p.target for p in pairing.pairs], metrics[1]),
    ):
        full = rows_of(ragged, windows)
        columns = columns_of(end, windows[0].shape[1])
        values = full if columns is None else full[:, list(columns)]
        sides.append(ActivationSet(values, pairing.keys, metric, None if columns is None else full, columns))
    first, second = sides
    return replace(first, full=None, selected=None), second


def columns_of(end: End, join: int) -> tuple[int, ...] | None:
    """Columns of a row of `join` windows that hold the selected features."""
    if end.features is None:
        return None
    return tuple(k * end.point.width + f for k in range(join) for f in end.features)


def fit_special(rule: LengthRule, source: End, frames: Frames, texts: Texts | None) -> LengthRule:
    """Give the rule the activations of the target's special tokens."""
    if texts is None or rule.state.length not in ("ctc", "spans"):
        return rule
    seen: dict[int, list[Tensor]] = {}
    for i in range(len(frames)):
        own: dict[int, list[Tensor]] = {}
        for place in texts.special(i):
            own.setdefault(texts.ids[i][place], []).append(frames.target[i][place])
        for token, rows in own.items():
            seen.setdefault(token, []).append(torch.stack(rows).mean(0))
    # Tokens outside words that only some texts have, such as a lone blank, do not frame the text.
    ids = sorted(token for token, rows in seen.items() if len(rows) == len(frames))
    if not ids:
        return rule
    values = torch.stack([torch.stack(seen[token]) for token in ids], 1)
    return rule.with_special(SpecialTokens.fit(ids, values, _pooled(source, frames)))
