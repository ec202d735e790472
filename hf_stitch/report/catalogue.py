"""Names and sentences for codes and measures, shared by the page and the card."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Scale = Literal["share", "signed", "error"]
Kind = Literal["classes", "texts", "vectors", "next_tokens", "numbers"]


class Described(NamedTuple):
    """A measure: its title, what it means, and the kind of scale on which it is drawn."""

    title: str
    meaning: str
    scale: Scale


MEASURES: dict[str, Described] = {
    "agreement": Described("Agreement", "share of samples on which the target's own answer is given", "share"),
    "kappa": Described(
        "Cohen's kappa", "agreement beyond what the two answer frequencies alone give; 0 is chance", "signed"
    ),
    "balanced_accuracy": Described("Balanced accuracy", "mean over classes of the share found", "share"),
    "accuracy": Described("Accuracy", "share of samples answered as labelled", "share"),
    "agreement_minus_cascade": Described(
        "Agreement minus the cascade's",
        "difference on the same samples; an interval that contains 0 shows no difference",
        "signed",
    ),
    "token_agreement": Described(
        "Token agreement",
        "mean share of tokens in which what is written agrees with the target's own, aligned by edit distance",
        "share",
    ),
    "exact_match": Described(
        "Exact match",
        "share of samples on which the target's own tokens are written, all of them",
        "share",
    ),
    "token_agreement_minus_cascade": Described(
        "Token agreement minus the cascade's",
        "difference on the same samples; an interval that contains 0 shows no difference",
        "signed",
    ),
    "exact_match_minus_cascade": Described(
        "Exact match minus the cascade's", "difference on the same samples", "signed"
    ),
    "text_wer": Described("Word errors", "wrong, missing and added words per word of the target's own text", "error"),
    "text_cer": Described("Character errors", "the same of characters", "error"),
    "answer_exact_match": Described(
        "Exact match with the reference", "share of samples written as in the data", "share"
    ),
    "answer_wer": Described("Word errors against the reference", "per word of the reference text in the data", "error"),
    "answer_cer": Described("Character errors against the reference", "per character of the reference text", "error"),
    "wer": Described("Word error rate", "wrong, missing and added words per word spoken", "error"),
    "output_mse": Described("Output error", "mean squared difference from the target's own output", "error"),
    "answer_mse": Described(
        "Error against the truth", "mean squared difference from the true answer in the data", "error"
    ),
    "answer_r2": Described("R2 against the truth", "share of the true answers' variance that is explained", "signed"),
    "vector_r2": Described(
        "R2 of the vectors", "share of the target's own vectors' variance round the mean of the fit", "signed"
    ),
    "vector_cosine": Described("Cosine of the vectors", "mean cosine with the target's own vector", "signed"),
    "retrieval_r1": Described(
        "Found first",
        "R@1: share of samples whose own target vector is nearest by cosine, among those of all samples of the split",
        "share",
    ),
    "retrieval_r10": Described("Found among ten", "R@10: the same, among the ten nearest", "share"),
    "retrieval_mrr": Described("Mean reciprocal rank", "mean of one over the rank of the sample's own vector", "share"),
    "vector_r2_minus_cascade": Described(
        "R2 minus the cascade's",
        "difference on the same samples; an interval that contains 0 shows no difference",
        "signed",
    ),
    "retrieval_r1_minus_cascade": Described(
        "Found first minus the cascade's", "difference on the same samples", "signed"
    ),
    "next_token_agreement": Described(
        "Next tokens alike", "share of positions whose most likely next token is the target's own", "share"
    ),
    "next_token_kl": Described(
        "Divergence of next tokens",
        "Kullback-Leibler divergence of what is said of the next token from what the target says, in nats a token",
        "error",
    ),
    "perplexity": Described("Perplexity", "exponential of the loss: as unsure as among so many equal tokens", "error"),
    "loss": Described("Loss", "cross-entropy of the true next tokens, in nats a token", "error"),
    "loss_difference": Described(
        "Loss minus the target's own", "difference on the same positions, in nats a token; below 0 is better", "signed"
    ),
    "next_token_accuracy": Described(
        "True next tokens", "share of positions whose most likely next token is the true one", "share"
    ),
    "map_mse": Described(
        "Map error",
        "mean squared difference between the aligned coordinates, in units where phi_0 = 1",
        "error",
    ),
    "map_residual": Described(
        "Map residual",
        "norm of the difference between the first five aligned coordinates over the norm of the target map's own",
        "error",
    ),
    "coordinate_correlation": Described(
        "First coordinate",
        "correlation of the aligned first coordinate with the target map's own",
        "signed",
    ),
    "coordinate_misalignment": Described("1 - r", "one minus the correlation of the first coordinate", "error"),
    "misalignment_ratio": Described("Ratio of 1 - r", "median of 1 - r of one group over that of another", "error"),
    "r2": Described("R2", "share of the variance of the target's activations that is explained", "signed"),
    "cosine": Described("Cosine", "mean cosine between predicted and true activations", "signed"),
    "relative_error": Described(
        "Relative error", "norm of the error over the norm of the target's activations", "error"
    ),
    "condition_median": Described(
        "Condition number",
        "of the map's Jacobian along the cloud, median over a grid of inputs",
        "error",
    ),
    "condition_95": Described("Condition number, 95 %", "below which it is for 95 % of the inputs", "error"),
    "condition_max": Described(
        "Condition number, largest", "over a grid of inputs; 1e8 where the map is flat", "error"
    ),
    "singular_share": Described("Singular", "share of the inputs near which the map is not one to one", "share"),
    "abstained": Described("Abstained", "share of inputs whose trust is below 0.02", "share"),
    "agreement_kept": Described(
        "Agreement where trusted", "agreement on the samples whose trust is 0.02 or more", "share"
    ),
    "agreement_abstained": Described("Agreement where not trusted", "agreement on the samples with less", "share"),
    "token_agreement_kept": Described(
        "Token agreement where trusted",
        "on the samples whose trust is 0.02 or more",
        "share",
    ),
    "token_agreement_abstained": Described("Token agreement where not trusted", "on the samples with less", "share"),
    "vector_r2_kept": Described(
        "R2 where trusted", "one minus the share of variance missed, of samples whose trust is 0.02 or more", "signed"
    ),
    "vector_r2_abstained": Described("R2 where not trusted", "of the samples with less", "signed"),
    "next_token_kl_kept": Described(
        "Divergence where trusted", "mean over the samples whose trust is 0.02 or more, in nats a token", "error"
    ),
    "next_token_kl_abstained": Described("Divergence where not trusted", "over the samples with less", "error"),
    "output_mse_kept": Described("Output error where trusted", "on the samples whose trust is 0.02 or more", "error"),
    "output_mse_abstained": Described("Output error where not trusted", "on the samples with less", "error"),
    "trust_auroc": Described(
        "Trust tells apart",
        "chance that a usual sample is trusted more than one of another kind; on the test, than one answered otherwise",
        "share",
    ),
}
"""Every measure, in the order in which they are shown.

A measure needs a line here and the function that computes it; `PRIMARY` and `COLUMNS` below promote the few that people
read first.
"""

PRIMARY = (
    "token_agreement",
    "exact_match",
    "answer_wer",
    "agreement",
    "kappa",
    "agreement_minus_cascade",
    "vector_r2",
    "retrieval_r1",
    "retrieval_r10",
    "retrieval_mrr",
    "next_token_agreement",
    "next_token_kl",
    "perplexity",
    "answer_mse",
    "output_mse",
    "map_mse",
)
"""Measures that a page shows unfolded; the first two or three of these that were measured stand above all else."""

DECIDING: dict[Kind, str] = {
    "classes": "agreement",
    "texts": "token_agreement",
    "vectors": "vector_r2",
    "next_tokens": "next_token_kl",
    "numbers": "output_mse",
}
"""The measure that a verdict starts from, by kind of answers; by trust it is `NAME_kept` and `NAME_abstained`."""

COLUMNS: dict[Kind, dict[str, str]] = {
    "classes": {
        "agreement": "agreement",
        "kappa": "kappa",
        "agreement_minus_cascade": "minus cascade",
        "accuracy": "accuracy",
    },
    "texts": {
        "token_agreement": "token agreement",
        "exact_match": "exact match",
        "token_agreement_minus_cascade": "minus cascade",
        "text_wer": "word errors",
        "answer_wer": "reference word errors",
        "answer_exact_match": "as the reference",
    },
    "vectors": {
        "vector_r2": "R2",
        "vector_cosine": "cosine",
        "retrieval_r1": "R@1",
        "retrieval_r10": "R@10",
        "retrieval_mrr": "MRR",
        "retrieval_r1_minus_cascade": "R@1 minus cascade",
    },
    "next_tokens": {
        "next_token_agreement": "agreement",
        "next_token_kl": "KL",
        "loss_difference": "loss minus target's",
        "perplexity": "perplexity",
        "next_token_accuracy": "true next tokens",
    },
    "numbers": {
        "answer_mse": "true MSE",
        "answer_r2": "true R2",
        "output_mse": "output MSE",
        "map_mse": "map MSE",
        "r2": "activation R2",
    },
}
"""Columns of the summary with their heads, by kind of answers."""

CARD: dict[Kind, tuple[str, ...]] = {
    "classes": ("agreement", "kappa", "agreement_minus_cascade", "accuracy", "balanced_accuracy"),
    "texts": ("token_agreement", "exact_match", "token_agreement_minus_cascade", "answer_wer", "text_wer"),
    "vectors": ("vector_r2", "retrieval_r1", "retrieval_mrr", "retrieval_r1_minus_cascade", "vector_cosine"),
    "next_tokens": ("next_token_agreement", "next_token_kl", "loss_difference", "perplexity"),
    "numbers": ("output_mse", "answer_mse", "map_mse", "r2", "answer_r2"),
}
"""What a card compares methods by: the first four that were measured; all others are on the page and in `report.json`.
"""

REFERENCES = {
    "target": "on its own input",
    "cascade": "the two whole models, one after the other",
    "majority": "always the same answer",
    "mean": "always the mean vector of the fit",
    "identity": "the source's activations as they are, without a map",
    "shuffled-pairs": "ridge on pairs dealt at random",
    "ridge": "ridge regression from the source's mean activation to the vector, without the target's half",
    "procrustes": "the same by a rotation and one scale",
    "relative": "no map: cosines to the fit's pairs on either side",
    "source": "alone, on its own task",
    "nearest": "the true answer of the nearest fit sample, all pairs known",
    "nearest-pair": "the same among the pairs that the map is given",
    "other-sample": "the target's own answer to another sample",
}
"""Methods of a report that are no stitching layers but what one is compared with, and what each gives."""

FIT, IN_PART, NO_FIT = ("The halves fit", "good"), ("The halves fit in part", "mixed"), ("The halves do not fit", "bad")
IGNORED = ("No better than an answer that ignores the input", "bad")

VERDICTS: dict[str, tuple[str, str]] = {
    "comparison-only": ("For comparison only", "none"),
    "holds": FIT,
    "holds-partly": IN_PART,
    "fails": NO_FIT,
    "no-better-than-majority": IGNORED,
    "regression-holds": FIT,
    "regression-holds-partly": IN_PART,
    "regression-fails": NO_FIT,
    "holds-for-search": IN_PART,
    "no-better-than-constant": IGNORED,
    "too-few-samples": ("Too few samples to tell", "none"),
    "unscaled": ("Measured, but not judged", "none"),
    "not-measured": ("Not measured", "none"),
}
"""Every code that a verdict may have, with its headline and tone (good, mixed, bad, none): one scale for all kinds."""


def title_of(name: str) -> str:
    """A measure's name as people read it."""
    return MEASURES[name].title if name in MEASURES else name.replace("_", " ").capitalize()


def scale_of(name: str) -> Scale:
    """The kind of scale of a measure; of an unknown one that of an error, which holds any number."""
    return MEASURES[name].scale if name in MEASURES else "error"


def kind_of(names: Iterable[str]) -> Kind:
    """Kind of a report's answers: that of the first of its measures that decides; numbers where none does."""
    kinds = {name: kind for kind, name in DECIDING.items()}
    return next((kinds[name] for name in names if name in kinds), "numbers")


def verdict_words(code: str) -> tuple[str, str]:
    return VERDICTS.get(code, (code.replace("-", " ").capitalize(), "none"))
