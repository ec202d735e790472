"""What a stitched model is compared with: the target on its true input, the cascade, the commonest answer."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from hf_stitch.activations.frames import Answers
from hf_stitch.activations.observations import Observations
from hf_stitch.activations.ragged import Ragged
from hf_stitch.evaluation.activation_measures import word_error_measures
from hf_stitch.evaluation.answer_kinds.base import Scope
from hf_stitch.evaluation.answer_kinds.classes import accuracy_measures, agreement_measures, majority_measures
from hf_stitch.evaluation.answer_kinds.numbers import regression_measures, truth_measures
from hf_stitch.evaluation.answer_kinds.texts import GeneratedTexts, constant, others, text_measures, truth_text_measures
from hf_stitch.evaluation.answers import heard_texts, text_answers
from hf_stitch.geometry.distances import nearest_rows
from hf_stitch.geometry.subsets import evenly_spaced
from hf_stitch.loading.samples import Samples
from hf_stitch.models.tasks import is_classifier
from hf_stitch.report.measure import Measure


@dataclass(frozen=True)
class References:
    """The target's own answers on a split, and the cascade's.

    Attributes:
        output: (n, k) logits, `labels` (n,) their classes; or the tokens that it writes, `script` them with their
            texts, `labels` numbers of the different ones.
        cascade: (n,) classes that the target gives on the source's own text, where the source writes text.
        heard: that text.
        truth: (n, k) what the target should answer, where the data say so.
        cascade_script: what the target writes on the source's own text; `true_texts` what it should write.
        retrieved: `nearest` and `nearest-pair`, the true answers (n, k) of the nearest fit samples.
    """

    output: Answers
    labels: np.ndarray
    cascade: np.ndarray | None
    heard: list[str] | None
    truth: np.ndarray | None = None
    retrieved: dict[str, np.ndarray] = field(default_factory=dict)
    script: GeneratedTexts | None = None
    cascade_texts: GeneratedTexts | None = None
    true_texts: list[str] | None = None

    @property
    def numbers(self) -> Tensor:
        """The target's own output where it is one row a sample."""
        assert isinstance(self.output, Tensor)
        return self.output


def make_references(observations: Observations, split: str) -> References:
    """Answers of the references on one split; the cascade runs here, the target's own were collected."""
    frames = observations.frames[split]
    if isinstance(frames.output, Ragged):
        return _written_references(observations, split, frames.output)
    heard, cascade = None, None
    if frames.path is not None and observations.source.tokenizer is not None:
        heard = heard_texts(observations.source, frames)
        if observations.target.preparer.modality == "text" and is_classifier(observations.target):
            with observations.timings.stage("evaluate.cascade"):
                found = text_answers(observations.target, heard, observations.runtime)
                assert isinstance(found, Tensor)
                cascade = found.argmax(-1).numpy()
    truth = None if is_classifier(observations.target) else observations.samples[split].true_answers(1)
    retrieved = {} if truth is None else _retrieved(observations, split)
    return References(frames.output, frames.output.argmax(-1).numpy(), cascade, heard, truth, retrieved)


def _written_references(observations: Observations, split: str, output: Ragged) -> References:
    frames, target = observations.frames[split], observations.target
    heard, cascade = None, None
    if frames.path is not None and observations.source.tokenizer is not None:
        heard = heard_texts(observations.source, frames)
        if target.preparer.modality == "text":
            with observations.timings.stage("evaluate.cascade"):
                found = text_answers(target, heard, observations.runtime)
                assert isinstance(found, Ragged)
                cascade = GeneratedTexts.of(target, found)
    script, truth = GeneratedTexts.of(target, output), observations.samples[split].true_texts(1)
    numbers: dict[tuple[int, ...], int] = {}
    labels = np.array([numbers.setdefault(row, len(numbers)) for row in script.tokens])
    return References(output, labels, None, heard, script=script, cascade_texts=cascade, true_texts=truth)


def _retrieved(observations: Observations, split: str) -> dict[str, np.ndarray]:
    """The true answer of the fit sample whose source input is nearest, of numbers: a stitch must do better.

    `nearest` knows which target answer belongs to every fit sample, `nearest-pair` only those of the pairs that the
    recipe's own map is given.
    """
    fit = observations.samples.get("fit")
    known = None if fit is None or observations.source.preparer.modality != "vector" else fit.true_answers(1)
    if fit is None or known is None:
        return {}
    asked = np.stack(observations.samples[split].batch(range(len(observations.samples[split])), 0))
    pairs = observations.recipe.stitch.get("pairs")
    found = {}
    for name, count in (("nearest", None), ("nearest-pair", pairs)):
        if name == "nearest" or count is not None:
            rows = evenly_spaced(len(fit), count).tolist()
            near = nearest_rows(torch.from_numpy(asked), torch.from_numpy(np.stack(fit.batch(rows, 0))))
            found[name] = known[np.array(rows)[near.numpy()]]
    return found


def reference_measures(observations: Observations, split: str, own: References) -> list[Measure]:
    """Measures of the references on one split."""
    samples = observations.samples[split]
    scope = Scope(split, observations.direction, observations.recipe.seed, samples.groups)  # type: ignore[arg-type]
    if own.script is not None:
        return _text_measures(observations, split, own, own.script, scope)
    if not is_classifier(observations.target):
        # The best constant answer: the mean of the target's outputs on the fit samples, or here where there are none.
        known = observations.frames.get("fit", observations.frames[split]).output
        assert isinstance(known, Tensor)
        constant = known.double().mean(0, keepdim=True).expand_as(own.numbers).numpy()
        measures = regression_measures("majority", constant, own.numbers.double().numpy(), scope)
        if own.truth is not None:
            given = {"target": own.numbers.double().numpy(), "majority": constant, **own.retrieved}
            for name, answers in given.items():
                measures += truth_measures(name, answers, own.truth, scope)
        return measures
    labels = None if samples.labels is None else np.array(samples.labels)
    measures = majority_measures(own.labels, labels, scope)
    if labels is not None:
        measures += accuracy_measures("target", own.labels, labels, scope)
    if own.cascade is not None:
        measures += agreement_measures("cascade", own.cascade, own.labels, scope)
        if labels is not None:
            measures += accuracy_measures("cascade", own.cascade, labels, scope)
    return measures + _hearing_measures(samples, own, scope, own.cascade is not None)


def _hearing_measures(samples: Samples, own: References, scope: Scope, reads: bool) -> list[Measure]:
    """Word errors of the source's own transcripts, against the transcripts in the data or the texts that are read."""
    true = samples.texts or ([str(samples.target(i)) for i in range(len(samples))] if reads else None)
    return [] if own.heard is None or true is None else word_error_measures(own.heard, true, scope)


def _text_measures(
    observations: Observations, split: str, own: References, script: GeneratedTexts, scope: Scope
) -> list[Measure]:
    """Measures of what a constant answer, the answers to other samples, the cascade and the target itself write."""
    given = {"majority": constant(script), "other-sample": others(script, scope.seed)}
    if own.cascade_texts is not None:
        given["cascade"] = own.cascade_texts
    measures = [m for name, written in given.items() for m in text_measures(name, written, script, scope)]
    if own.true_texts is not None:
        for name, written in {"target": script, **given}.items():
            measures += truth_text_measures(name, written, own.true_texts, scope)
    return measures + _hearing_measures(observations.samples[split], own, scope, own.cascade_texts is not None)
