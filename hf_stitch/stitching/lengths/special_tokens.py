"""Special tokens of the target: positions that no timestep of the source corresponds to."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from hf_stitch.errors import ActivationError

NOTHING = -1  # stands for no token: a position of which no timestep of the source tells anything
RIDGE = 0.1  # of the pooled source's mean variance; by hand: small, the constant carries nearly all


class SpecialTokens(nn.Module):
    """Activations of the target's special tokens: constants, plus a linear part of the pooled source where they vary.

    At an embedding layer a special token's activation is a constant; deeper it depends on the sentence, and a ridge
    from the mean source activation is the best that is known before the target has run.
    """

    constant: Tensor
    centre: Tensor

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec = spec
        tokens, width, features = len(spec["ids"]), spec["width"], spec["features"]
        # float32 whatever the models' dtype: `torch.empty` alone would follow the default dtype while a model loads.
        self.register_buffer("constant", torch.empty(tokens, width, dtype=torch.float32))
        self.slope: nn.Parameter | None = None
        if spec["varies"]:
            self.slope = nn.Parameter(torch.empty(tokens, features, width, dtype=torch.float32), requires_grad=False)
            self.register_buffer("centre", torch.empty(features, dtype=torch.float32))

    @classmethod
    def fit(cls, ids: list[int], values: Tensor, pooled: Tensor, constant: bool = False) -> SpecialTokens:
        """Fit from samples.

        Args:
            ids: token id of each special token, (S,).
            values: (n, S, width) activations of the special tokens.
            pooled: (n, features) mean source activation of the same samples.
            constant: of a causal target, whose first positions must not know what the mean of the source knows.
        """
        return cls.fit_blocks(ids, lambda: [(values, pooled)], constant)

    @classmethod
    def fit_blocks(
        cls, ids: list[int], blocks: Callable[[], Iterable[tuple[Tensor, Tensor]]], constant: bool = False
    ) -> SpecialTokens:
        """As `fit`, of samples that come block by block: `blocks` is asked twice for the same ones."""
        totals = _summed((len(y), y.sum(0), x.sum(0), y.pow(2).sum()) for y, x in _doubles(blocks))
        count, middle, centre, size = totals[0], totals[1] / totals[0], totals[2] / totals[0], totals[3]
        centred = ((y - middle, x - centre) for y, x in _doubles(blocks))
        spread, moved, gram, cross = _summed(
            (y.pow(2).sum(), x.pow(2).sum(), x.T @ x, x.T @ y.flatten(1)) for y, x in centred
        )
        # Relative, by hand: what float32 models leave of a constant is below, what depends on the sentence far above.
        varies = bool(spread / middle.numel() / count > 1e-8 * (size / middle.numel() / count))
        features = len(centre)
        spec = {"ids": list(ids), "width": middle.shape[1], "features": features}
        tokens = cls({**spec, "varies": varies and count > 1 and not constant})
        tokens.constant.copy_(middle)
        if tokens.slope is not None:
            gram = gram + RIDGE * moved / features * torch.eye(features, dtype=gram.dtype)
            slope = torch.linalg.solve(gram, cross).reshape(features, len(ids), -1)
            tokens.slope.data.copy_(slope.transpose(0, 1))
            tokens.centre.copy_(centre)
        return tokens

    def forward(self, ids: Tensor, pooled: Tensor) -> Tensor:
        """Activations of the tokens `ids` (k,) given the pooled source (k, features) of their samples; (k, width)."""
        place = {token: i for i, token in enumerate(self.spec["ids"])}
        unknown = sorted(set(ids.tolist()) - place.keys())
        if unknown:
            raise ActivationError(f"special tokens {unknown} never occurred in the fit; known: {sorted(place)}")
        index = torch.tensor([place[token] for token in ids.tolist()], device=self.constant.device)
        values = self.constant[index].float()
        if self.slope is not None:
            centred = pooled.float() - self.centre.float()
            values = values + torch.einsum("kf,kfw->kw", centred, self.slope[index].float())
        return values.to(pooled.dtype)


def _doubles(blocks: Callable[[], Iterable[tuple[Tensor, Tensor]]]) -> Iterator[tuple[Tensor, Tensor]]:
    return ((values.double(), pooled.double()) for values, pooled in blocks())


def _summed(rows: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Column by column the sum of all rows, one of which is in memory."""
    return functools.reduce(lambda total, row: tuple(map(operator.add, total, row)), rows)
