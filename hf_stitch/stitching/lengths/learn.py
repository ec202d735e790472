"""What a length rule learns from the fit samples."""

from __future__ import annotations

import torch
from torch import Tensor

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel, alphabet_of
from hf_stitch.errors import RecipeError
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.stitching.lengths.base import RuleState
from hf_stitch.stitching.lengths.length_predictor import LengthPredictor
from hf_stitch.stitching.lengths.rule import LengthRule
from hf_stitch.stitching.lengths.special_tokens import SpecialTokens
from hf_stitch.stitching.lengths.target_texts import TargetTexts, samples_per_frame
from hf_stitch.stitching.lengths.words import learn_pieces


def make_rule(
    recipe: Recipe, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
) -> LengthRule:
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


def _pooled(source: HookedModel, frames: Frames) -> Tensor:
    """(n, features) mean activation of each sample on the source's selected features."""
    features = slice(None) if source.features is None else list(source.features)
    return torch.stack([frames.source[i].mean(0)[features] for i in range(len(frames))])


def _frame_of(texts: TargetTexts) -> tuple[list[int], list[int]]:
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


def fit_special(rule: LengthRule, source: HookedModel, frames: Frames, texts: TargetTexts | None) -> LengthRule:
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
