"""Special tokens of the target: positions that no timestep of the source corresponds to."""

from __future__ import annotations

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
        values, pooled = values.double(), pooled.double()
        middle, centre = values.mean(0), pooled.mean(0)
        spread = (values - middle).pow(2).mean()
        # Relative, by hand: what float32 models leave of a constant is below, what depends on the sentence far above.
        varies = bool(spread > 1e-8 * values.pow(2).mean()) and len(values) > 1 and not constant
        spec = {"ids": list(ids), "width": values.shape[2], "features": pooled.shape[1], "varies": varies}
        tokens = cls(spec)
        tokens.constant.copy_(middle)
        if tokens.slope is not None:
            x = pooled - centre
            gram = x.T @ x + RIDGE * x.pow(2).sum() / x.shape[1] * torch.eye(x.shape[1], dtype=x.dtype)
            y = (values - middle).flatten(1)
            slope = torch.linalg.solve(gram, x.T @ y).reshape(x.shape[1], len(ids), -1)
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
