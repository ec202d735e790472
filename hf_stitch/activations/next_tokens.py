"""What a causal language model says at each position of a text: its likeliest next token, and its loss on the true one.

Logits of all positions would not fit into memory (50,000 tokens a position): a few texts at a time, of each position a
few numbers are kept. A position counts where it holds an ordinary token and another token follows: what comes after the
last one nobody knows, and special tokens (`<s>`) are the same in every text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hf_stitch.activations.ragged import Ragged
from hf_stitch.hooks.finite_logits import check_logits
from hf_stitch.hooks.padding import rows_of

COLUMNS = ("next", "counts", "best", "loss", "own_best", "own_loss", "kl")
"""Of each position: the token that follows (-1: none), whether it counts, the likeliest next token and the loss (nats)
on the true one of whoever answers and of the target itself, and KL(target || whoever answers) in nats."""
NEXT, COUNTS, BEST, LOSS, OWN_BEST, OWN_LOSS, KL = range(len(COLUMNS))
AT_ONCE = 2**26  # logits held at once, a quarter of a GB of float32; by hand


def own_next_tokens(model: Any, inputs: Mapping[str, Any], special: Collection[int]) -> Ragged:
    """What a causal model says on its own input: rows (positions, `COLUMNS`) float64 of each text, without padding.

    Args:
        inputs: `input_ids` (b, t), `attention_mask` (b, t) and what else the model takes. special: ids of tokens whose
            positions do not count.

    Raises:
        ActivationError: NaN or infinite logits.
    """
    tokens, seen = inputs["input_ids"], inputs.get("attention_mask")
    mask = torch.ones_like(tokens, dtype=torch.bool) if seen is None else seen.bool()
    found: list[Tensor] = []
    for rows in few(len(tokens), tokens.shape[1], vocabulary_of(model)):
        logits = model(**rows_of(inputs, rows, len(tokens))).logits
        for row, scores in zip(rows, logits):
            found.append(_own_rows(scores[mask[row]], tokens[row][mask[row]], special, model).cpu())
    return Ragged.pack(found)


def _own_rows(logits: Tensor, tokens: Tensor, special: Collection[int], model: Any) -> Tensor:
    known = truth_of(tokens, special)
    best, loss, _ = said(check_logits(logits[None], type(model).__name__)[0], known[:, NEXT].long())
    known[:, BEST] = known[:, OWN_BEST] = best
    known[:, LOSS] = known[:, OWN_LOSS] = loss
    return known


def truth_of(tokens: Tensor, special: Collection[int]) -> Tensor:
    """Rows (t, `COLUMNS`) of the tokens (t,) of one text in which only what follows, and what counts, is known."""
    rows = torch.zeros(len(tokens), len(COLUMNS), dtype=torch.float64, device=tokens.device)
    rows[:, NEXT] = -1
    rows[:-1, NEXT] = tokens[1:].double()
    ordinary = ~torch.isin(tokens, torch.tensor(sorted(special), dtype=tokens.dtype, device=tokens.device))
    rows[:-1, COUNTS] = ordinary[:-1].double()
    return rows


def said(logits: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of logits (t, V) the most likely tokens (t,), losses (t,) on the true ones (0 where these are -1), log shares."""
    shares = logits.float().log_softmax(-1)
    loss = -shares.gather(-1, true.clamp(min=0)[:, None])[:, 0].double()
    return shares.argmax(-1).double(), torch.where(true >= 0, loss, 0.0), shares


def divergence(own: Tensor, given: Tensor) -> Tensor:
    """KL(own || given) in nats of log shares (t, V): (t,) float64, exactly 0 of equal ones."""
    # Shares of 0 add nothing, however unlikely they are to the other; rounding may give a little less than 0.
    terms = torch.where(own > -torch.inf, own.exp() * (own - given), 0.0)
    return terms.sum(-1, dtype=torch.float64).clamp(min=0.0)


Run = Callable[[Tensor, Tensor], Tensor]
"""From activations (b, t, m) at a hook point and their mask (b, t) to logits (b, t, V)."""


def beside_own(
    run: Run, candidates: Mapping[str, Tensor], own: Tensor, mask: Tensor, known: Sequence[Tensor], size: int
) -> dict[str, list[Tensor]]:
    """What the rest of a target says to activations, beside what it says to its own, in the same pass.

    Args:
        candidates: by name (b, t, m) activations. own: (b, t, m) the target's. mask: (b, t) bool.
        known: for each text rows (positions, `COLUMNS`) of the target on its own input.
        size: of the vocabulary.

    Returns:
        By name rows (positions, `COLUMNS`) of each text.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in candidates}
    for rows in few(len(own), own.shape[1], size):
        place = list(rows)
        # Two sets of logits at a time, those of the target itself and of one candidate.
        target = run(own[place], mask[place])
        for name, values in candidates.items():
            logits = run(values[place], mask[place])
            for i, row in enumerate(rows):
                real = mask[row]
                found[name].append(_compared(logits[i][real], target[i][real], known[row]))
    return found


def _compared(logits: Tensor, own: Tensor, known: Tensor) -> Tensor:
    rows = known.clone()
    counted = (known[:, COUNTS] > 0).nonzero()[:, 0]
    if not len(counted):
        return rows
    here, true = counted.to(logits.device), known[counted, NEXT].long().to(logits.device)
    best, loss, shares = said(check_logits(logits[here][None], "the stitched model")[0], true)
    own_best, own_loss, own_shares = said(own[here], true)
    for column, values in ((BEST, best), (LOSS, loss), (OWN_BEST, own_best), (OWN_LOSS, own_loss)):
        rows[counted, column] = values.cpu()
    rows[counted, KL] = divergence(own_shares, shares).cpu()
    return rows


def few(batch: int, length: int, vocabulary: int) -> Iterator[range]:
    """The rows of a batch, so many at a time as have no more than `AT_ONCE` logits."""
    most = max(1, AT_ONCE // max(1, length * vocabulary))
    return (range(start, min(start + most, batch)) for start in range(0, batch, most))


def vocabulary_of(model: Any) -> int:
    """How many tokens a language model knows."""
    config = model.config.get_text_config()
    return int(getattr(config, "vocab_size", 0) or 1)
