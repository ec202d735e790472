"""Answers of a stitched model to raw inputs that were read, as plain data, in batches; one bad input costs no other.

The model is a `StitchedModel`, typed as any: its module reads this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from hf_stitch.errors import ArtifactError, DataError, RecipeError, StitchError
from hf_stitch.hooks.position_limit import Cut, telling
from hf_stitch.loading.processors import Preparer
from hf_stitch.models.answering import rows_of, text_output_of, write
from hf_stitch.models.labels import check_finite, labelled, shares

WHY = {
    "distance": "its activations are far from all that the fit has seen",
    "local": "its activations are far from all that the fit has seen",
    "extension": "its coordinates are far from those of the nearest activations of the fit",
    "image": "it is mapped to where the target's activations never were",
    "cycle": "it does not come back from the target's activations",
}


class BatchPredictor:
    """Predicts batch by batch.

    Args:
        name: what to call the model in errors. preparer: prepares its inputs. tokenizer: the target's, which spells
            what it writes; None of a target that does not.
        abstain: answer nothing where the trust score is below this share, such as 0.02; absent: always answer.

    Raises:
        ArtifactError: no trust gauge to abstain by, no tokenizer to spell with, or a model that takes the times of
            words beside sounds. RecipeError: a share that is none, or that refuses nothing.
    """

    def __init__(
        self,
        model: Any,
        preparer: Preparer,
        tokenizer: Any = None,
        abstain: float | None = None,
        name: Any = "the model",
    ) -> None:
        check_share(abstain)
        self.model, self.preparer, self.device = model, preparer, model.device
        self.abstain, self.text_output = abstain, text_output_of(model)
        self.tokenizer = tokenizer if self.text_output is not None else None
        _check_gauge(model, abstain, name)
        if model.rule.needs_times:
            raise ArtifactError(
                f"{name} takes the words of a sound and their times beside it (sequence.length: "
                f"{model.rule.state.length}): use "
                "`hf-stitch evaluate` with columns.times, or Preparer.batch(sounds, said) and the model itself"
            )
        if self.text_output is not None and tokenizer is None:
            raise ArtifactError(f"{name} has no tokenizer of the target to spell its texts with; fit it again")
        self.on_note: Callable[[str], None] = lambda note: None  # told of each note as soon as it is there
        self.notes: list[str] = []  # what was done to inputs: resampled, cut

    @property
    def modality(self) -> str:
        """What the source takes: audio, text, image or vector."""
        return self.preparer.modality

    def note(self, *notes: str) -> None:
        """Tell what is to be known of the inputs."""
        self.notes += notes
        for note in notes:
            self.on_note(note)

    def predict(self, batch: list[tuple[str, Any]]) -> list[dict[str, Any] | DataError]:
        """Answers to a batch of names and raw inputs, in order.

        Where there are none to all of it, input by input, each with its answer or its error.
        """
        if not batch:
            return []
        cuts: list[Cut] = []
        try:
            with telling(cuts.append), torch.inference_mode():
                found = self._run(batch)
        except (ArtifactError, RecipeError):  # of the model, whatever the input
            raise
        except (StitchError, RuntimeError, IndexError, ValueError, MemoryError) as error:
            if len(batch) > 1:
                return [answer for one in batch for answer in self.predict([one])]
            if isinstance(error, MemoryError | torch.OutOfMemoryError):
                raise
            why = str(error)
            if not isinstance(error, StitchError):
                why = f"the model fails on it ({type(error).__name__}: {why}); give another, or a shorter one"
            return [DataError(f"{batch[0][0]}: {why}")]
        self.note(*(f"{self._shown(batch[cut.row][0])}: {cut}" for cut in cuts))
        return found

    def _shown(self, name: str) -> str:
        return repr(name[:40]) if self.modality == "text" else name

    def _run(self, batch: list[tuple[str, Any]]) -> list[dict[str, Any] | DataError]:
        inputs = {key: value.to(self.device) for key, value in self.preparer.batch([raw for _, raw in batch]).items()}
        trusted = self.model.trust is not None
        if self.text_output is not None:
            tokens, trust = write(self.model, inputs, trusted)
            texts = self.text_output.texts(tokens, self.tokenizer)
            answers = [{"input": name, "text": text} for (name, _), text in zip(batch, texts)]
            if trust is None:
                return [*answers]
            return [self._trusted(answer, trust.score, trust.parts, i) for i, answer in enumerate(answers)]
        output = self.model(**inputs, return_trust=trusted)
        logits = rows_of(output)
        if logits is None:
            shapes = ", ".join(f"{k} {tuple(v.shape)}" for k, v in output.items() if isinstance(v, Tensor))
            raise ArtifactError(f"expected one row of logits or a vector an input; the target gives {shapes}")
        # float64: softmax in half precision gives scores that do not sum to 1.
        found = [self._labelled(name, row) for (name, _), row in zip(batch, logits.double().cpu())]
        if not trusted:
            return found
        scores, parts = output.trust, output.trust_parts
        return [self._trusted(answer, scores, parts, i) for i, answer in enumerate(found)]

    def _labelled(self, name: str, logits: Tensor) -> dict[str, Any] | DataError:
        config = self.model.config
        try:
            return {"input": name, **labelled(config, shares(config, logits))}
        except DataError as error:
            return DataError(f"{name}: {error}")

    def _trusted(
        self, answer: dict[str, Any] | DataError, scores: Tensor, shares: dict[str, Tensor], i: int
    ) -> dict[str, Any] | DataError:
        """The answer with how far the i-th input lies from the fit, and without its answer where that is too far."""
        if isinstance(answer, DataError):
            return answer
        try:
            check_finite(self.model.config, torch.stack([scores[i], *(share[i] for share in shares.values())]))
        except DataError as error:
            return DataError(f"{answer['input']}: {error}")
        trust = float(scores[i])
        parts = {name: float(share[i]) for name, share in shares.items()}
        told: dict[str, Any] = {"trust": trust, "trust_parts": parts}
        if self.abstain is None or trust >= self.abstain:
            return answer | told
        # The ingredient that by itself is the least usual says why.
        part = min(parts, key=lambda name: parts[name])
        why = f"trust {trust:.3g} is below {self.abstain:g}: {WHY[part]}"
        return answer | {key: None for key in answer if key != "input"} | told | {"abstained": why}


def check_share(abstain: float | None) -> None:
    """RecipeError where it is no share."""
    if abstain is not None and not 0 <= abstain <= 1:
        raise RecipeError(f"abstain: expected a share from 0 to 1, such as 0.02; got {abstain}")


def _check_gauge(model: Any, abstain: float | None, name: Any) -> None:
    if abstain is not None and model.trust is None:
        raise ArtifactError(f"{name} has no trust gauge to abstain by: fit it again with `trust: distance`")
    if abstain is not None and 0 < abstain <= model.trust.smallest:
        lowest = f"no score of this model is below {model.trust.smallest:.2g}"
        raise RecipeError(f"abstain: {abstain:g} refuses nothing, for {lowest}; give more, or fit with more samples")
