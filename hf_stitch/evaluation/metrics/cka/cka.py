"""Linear CKA of two sets of activations."""

import datasets
import evaluate
import torch

from hf_stitch.geometry.similarity.cka import LinearCKA

_DESCRIPTION = """
How alike two sets of activations are up to a shift, a rotation and one scale: linear centred kernel alignment with the
unbiased estimator of HSIC, so that sets of few rows and many features are not called alike for their width alone. Near
0, and below it too, for sets that have nothing in common. That two layers are alike does not show that one can be
stitched to the other. Rows that are timesteps of one sample are not independent, so no interval is given.
"""

_CITATION = """
@inproceedings{kornblith2019similarity,
  title     = {Similarity of Neural Network Representations Revisited},
  author    = {Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey},
  booktitle = {International Conference on Machine Learning},
  year      = {2019}
}
@article{song2012feature,
  title   = {Feature Selection via Dependence Maximization},
  author  = {Song, Le and Smola, Alex and Gretton, Arthur and Bedo, Justin and Borgwardt, Karsten},
  journal = {Journal of Machine Learning Research},
  volume  = {13},
  pages   = {1393--1434},
  year    = {2012}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of list of float): activations of one model, one row per sample or timestep.
    references (list of list of float): activations of the other, rows in the same order; as wide or not.

Returns:
    cka (float): 1 for activations that differ by a shift, a rotation and one scale; nan where `reason` says why.
    reason (str): why there is no value, such as fewer than four rows; None where there is one.
    n (int): number of rows.

Examples:

    Turned, stretched and moved as a whole:

        >>> import evaluate
        >>> from hf_stitch import metric_path
        >>> metric = evaluate.load(metric_path("cka"))
        >>> rows = [[0.0, 0.0], [4.0, 0.0], [0.0, 2.0], [4.0, 2.0], [1.0, 5.0]]
        >>> result = metric.compute(predictions=rows, references=[[7 - 3 * b, 3 * a] for a, b in rows])
        >>> round(result["cka"], 6), result["n"]
        (1.0, 5)

    One feature stretched more than the other:

        >>> result = metric.compute(predictions=rows, references=[[a, 9 * b] for a, b in rows])
        >>> round(result["cka"], 3)
        0.502
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class Cka(evaluate.Metric):
    def _info(self):
        row = datasets.Sequence(datasets.Value("float64"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": row, "references": row}),
            reference_urls=["https://arxiv.org/abs/1905.00414"],
        )

    def _compute(self, predictions, references):
        found = LinearCKA.of(*(torch.tensor(rows, dtype=torch.float64) for rows in (predictions, references)))
        return {"cka": found.value(), "reason": found.trouble(), "n": found.n}
