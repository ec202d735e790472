"""What a length rule is, what it is told of a sample, and what it answers, in the fit and at run time.

A rule is one file of this folder, by the name that recipes give it: a `RuleState` with what it learns, a `Rule`, and
`RULE`, by which it is found. What a recipe must know of it stands in `hf_stitch/recipe/sequence.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.frames import Frames
from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError, nearest
from hf_stitch.recipe.sequence import RULES, Lengths
from hf_stitch.stitching.lengths.target_texts import TargetTexts

FRAMES_OF_A_WORD = 16
"""Timesteps of a word where multiply-adds are counted: a third of a second at 50 a second, as Wav2Vec2 has. By hand."""


@dataclass(frozen=True)
class SampleShape:
    """What the rule needs to know of one sample.

    Attributes:
        source_length, target_length: timesteps; at run time the target length that is wanted, 0 where the rule finds
            it itself.
        path: (t,) greedy CTC classes, for rules that need a CTC head.
        spans: (t', 2) source ranges of the target's tokens, for rules that need them; (-1, id) marks a special token.
        words: true words, in the fit; `word_tokens` the target positions of each, `word_cuts` which characters of the
            word [start, end) each of those holds, `blanks` the position of the blank after each.
    """

    source_length: int
    target_length: int
    path: np.ndarray | None = None
    spans: np.ndarray | None = None
    words: Sequence[str] = ()
    word_tokens: Sequence[Sequence[int]] = ()
    word_cuts: Sequence[Sequence[tuple[int, int]]] = ()
    blanks: Sequence[int | None] = ()


@dataclass(frozen=True)
class Pairs:
    """Rows of one sample that correspond: source windows (r, K, 2), target windows (r, S, 2), positions (r,)."""

    source: np.ndarray
    target: np.ndarray
    position: np.ndarray
    dropped: int = 0


class Positions(NamedTuple):
    """Target positions of one sample at run time: windows (r, K, 2), kind (t',), row (t',); see `Plan`."""

    windows: np.ndarray
    kind: np.ndarray
    row: np.ndarray


@dataclass
class RuleState:
    """What is saved of a rule in the model's config, beside its tensors; each rule adds what it learns itself.

    Attributes:
        length: the rule's name; target_length: where the target's length comes from.
        padding_side: the target's. limit: most tokens that it takes, None without a limit; `cut_side` where its
            tokenizer cuts what is longer.
        special, predictor: specs of the tensors that `LengthRule` holds.
    """

    length: str
    target_length: str
    padding_side: str = "right"
    limit: int | None = None
    cut_side: str = "right"
    special: dict | None = None
    predictor: dict | None = None


class Rule:
    """One length rule: which target positions there are, and which source timesteps each is made of.

    Attributes:
        State: what it learns.
        special_tokens: the target's special tokens have positions, which no timestep corresponds to.
    """

    State: ClassVar[type[RuleState]] = RuleState
    special_tokens: ClassVar[bool] = False

    def __init__(self, state: Any) -> None:
        self.state = state

    @classmethod
    def of(cls, state: Any) -> Rule:
        """The rule of a state."""
        return cls(state)

    @classmethod
    def learn(
        cls, asked: Lengths, source: HookedModel, target: HookedModel, frames: Frames, texts: TargetTexts | None
    ) -> RuleState:
        """What the rule learns from the fit samples; `learned_by_all` is the common part.

        Raises:
            RecipeError: the rule does not suit these models.
        """
        raise NotImplementedError

    @property
    def join(self) -> int:
        """Windows joined into one row, which has `join` times the source's features."""
        raise NotImplementedError

    @property
    def steps(self) -> int:
        """Timesteps of the target that one mapped row is taken apart into."""
        return 1

    @property
    def needs_times(self) -> bool:
        """Whether it is told, at run time too, when the words of a sound are said."""
        return False

    @property
    def rate(self) -> float | None:
        """Target positions a source timestep, where they follow the source evenly."""
        return None

    def unlimited(self, sample: SampleShape) -> int:
        """Positions that the sample would have without the target's limit, if those behind it are lost; else 0."""
        return 0

    def target_lengths(self, lengths: Sequence[int]) -> list[int]:
        """Wanted target lengths of sources so long, by what was learned; 0 where positions are found otherwise."""
        return [0] * len(lengths)

    def pairs(self, sample: SampleShape) -> Pairs:
        """Corresponding rows of one sample, for the fit."""
        raise NotImplementedError

    def positions(self, sample: SampleShape) -> Positions:
        """Target positions of one sample, at run time."""
        raise NotImplementedError

    def typical(self, count: int, path: Tensor | None, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """A path (1, t) and spans (1, t', 2) as real inputs of `count` timesteps have them, for counting operations.

        Args:
            path: that of a random input, which spells nothing.
        """
        return path, None


def learned_by_all(asked: Lengths, target: HookedModel) -> dict[str, Any]:
    """The fields of `RuleState` that every rule learns alike."""
    reads = target.preparer.modality == "text"
    return {
        "length": asked.length,
        "target_length": asked.default_length(),
        "padding_side": getattr(target.tokenizer, "padding_side", "right"),
        "limit": target.preparer.max_length if reads else None,
        "cut_side": getattr(target.tokenizer, "truncation_side", "right"),
    }


def rule_class(name: str) -> type[Rule]:
    """The rule of a name.

    Raises:
        ArtifactError: there is none.
    """
    if name not in RULES:  # the name may come from a saved config: nothing else is imported
        raise ArtifactError(f"unknown length rule {name!r}; {nearest(name, list(RULES))}; update hf_stitch")
    found: type[Rule] = import_module(f"hf_stitch.stitching.lengths.{name}").RULE
    return found
