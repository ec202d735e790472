"""How near predicted activations come to the true ones."""

import datasets
import evaluate

from hf_stitch.evaluation.statistics import activations

_DESCRIPTION = """
How near the activations that a stitching layer predicts come to the target model's own, row by row. A good fit does not
show that the stitched model holds: the suffix decides which errors matter. No intervals are given, since rows that are
timesteps of one sample are not independent and this metric does not know which belong together.
"""

_CITATION = """
@inproceedings{kornblith2019similarity,
  title     = {Similarity of Neural Network Representations Revisited},
  author    = {Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey},
  booktitle = {International Conference on Machine Learning},
  year      = {2019}
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (list of list of float): activations out of the stitching layer, one row per sample or timestep.
    references (list of list of float): the target's own activations, rows in the same order.

Returns:
    r2 (float): share of the references' variance explained, over all features together; 0 is what their mean reaches.
    cosine (float): mean cosine between rows that belong together.
    relative_error (float): Frobenius norm of the error over that of the references.
    n (int): number of rows.

Examples:

    Exact activations:

        >>> import evaluate
        >>> from hf_stitch import metric_path
        >>> metric = evaluate.load(metric_path("activation_fit"))
        >>> rows = [[1.0, 0.0], [0.0, 2.0], [-1.0, 1.0]]
        >>> metric.compute(predictions=rows, references=rows)
        {'r2': 1.0, 'cosine': 1.0, 'relative_error': 0.0, 'n': 3}

    Their mean instead of each row explains nothing:

        >>> result = metric.compute(predictions=[[0.0, 1.0]] * 3, references=rows)
        >>> result["r2"], round(result["cosine"], 3), round(result["relative_error"], 3)
        (0.0, 0.569, 0.756)
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class ActivationFit(evaluate.Metric):
    def _info(self):
        row = datasets.Sequence(datasets.Value("float32"))
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": row, "references": row}),
            reference_urls=["https://en.wikipedia.org/wiki/Coefficient_of_determination"],
        )

    def _compute(self, predictions, references):
        parts = {name: getattr(activations, name)(predictions, references) for name in _NAMES}
        return {_NAMES[name]: part.value for name, part in parts.items()} | {"n": len(predictions)}


_NAMES = {"r_squared": "r2", "cosine": "cosine", "relative_error": "relative_error"}
