"""The pipeline `stitched-classification`."""

from __future__ import annotations

from typing import Any

from hf_stitch.errors import DataError
from hf_stitch.models.labels import labelled, shares
from hf_stitch.models.pipelines.base import StitchedPipeline, _weighed


class StitchedClassificationPipeline(StitchedPipeline):
    """`stitched-classification`: {"label", "score", "scores"}, of a regression {"values"}; with a gauge also "trust".

    Of several windows the chances (or values) are averaged, each weighed by its length: the share of the sound that
    speaks for a label. The trust is that of the least trusted window, and "windows" holds each one's own answer.
    """

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        output = self._run(model_inputs["inputs"])
        if output.logits.ndim != 2:
            raise DataError(f"expected one row of logits an input; the target gives {tuple(output.logits.shape)}")
        # float64: shares of several windows are averaged, and must still sum to 1.
        rows = shares(self.model.config, output.logits.double())
        return {"answers": [(row, self._trust(output, i)) for i, row in enumerate(rows)]}

    def postprocess(self, model_outputs: list[Any]) -> dict[str, Any]:
        config = self.model.config
        whole = labelled(config, _weighed([(window, row) for window, (row, _) in model_outputs]))
        trust = min((told["trust"] for _, (_, told) in model_outputs if told), default=None)
        whole |= {} if trust is None else {"trust": trust}
        if model_outputs[0][0] is not None:
            whole["windows"] = [
                {"timestamp": self.seconds(window), **labelled(config, row), **told}
                for window, (row, told) in model_outputs
            ]
        return whole
