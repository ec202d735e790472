"""Agreement of a stitched classifier with the target on its own input."""

import datasets
import evaluate

from hf_stitch.evaluation.statistics import classes

_DESCRIPTION = """
How often a stitched model gives the label that the target model gives on its own input, and what that share is worth:
beside it stand the share that always giving the commonest label would reach, balanced accuracy, and Cohen's kappa
(agreement beyond chance). All intervals are 95 %: Wilson's for the agreement, bootstrap percentiles for the others.
"""

_CITATION = """
@article{cohen1960kappa,
  title   = {A Coefficient of Agreement for Nominal Scales},
  author  = {Cohen, Jacob},
  journal = {Educational and Psychological Measurement},
  volume  = {20},
  number  = {1},
  pages   = {37--46},
  year    = {1960}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of int or str): labels given by the stitched model.
    references (list of int or str): labels given by the target model on its own input of the same samples.
    seed (int): of the bootstrap, 0 by default.

Returns:
    agreement (float): share of samples with the same label; low, high (float): its interval.
    majority (float): share of the commonest reference.
    balanced_accuracy (float): mean share found per class; balanced_accuracy_low, balanced_accuracy_high (float).
    kappa (float): Cohen's kappa, 0 at chance and 1 at perfect agreement; kappa_low, kappa_high (float).
    n (int): number of samples.

Examples:

    Nine of ten labels agree, and neither label is rare:

        >>> import evaluate
        >>> from hf_stitch import metric_path
        >>> metric = evaluate.load(metric_path("stitch_agreement"))
        >>> references = [0, 1] * 5
        >>> result = metric.compute(predictions=[1, 1] + references[2:], references=references)
        >>> round(result["agreement"], 3), round(result["low"], 3), round(result["high"], 3), result["n"]
        (0.9, 0.596, 0.982, 10)
        >>> round(result["kappa"], 3), result["majority"]
        (0.8, 0.5)

    Always giving the commonest label agrees often and shows nothing:

        >>> result = metric.compute(predictions=["good"] * 10, references=["good"] * 9 + ["bad"])
        >>> result["agreement"], result["majority"], result["balanced_accuracy"], result["kappa"]
        (0.9, 0.9, 0.5, 0.0)
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class StitchAgreement(evaluate.Metric):
    def _info(self):
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            # Two forms, of which evaluate takes the one that fits the first batch: numbers or names of classes.
            features=[
                datasets.Features({"predictions": datasets.Value(kind), "references": datasets.Value(kind)})
                for kind in ("int64", "string")
            ],
            reference_urls=["https://en.wikipedia.org/wiki/Cohen%27s_kappa"],
        )

    def _compute(self, predictions, references, seed=0):
        agreement = classes.agreement(predictions, references)
        result = {"agreement": agreement.value, "low": agreement.low, "high": agreement.high}
        result["majority"] = classes.majority(references).value
        for name in ("balanced_accuracy", "kappa"):
            found = getattr(classes, name)(predictions, references, seed=seed)
            result |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        return result | {"n": agreement.n}
