"""The pipeline `stitched-vector`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hf_stitch.errors import DataError
from hf_stitch.models.labels import check_finite
from hf_stitch.models.pipelines.base import StitchedPipeline, _weighed


class StitchedVectorPipeline(StitchedPipeline):
    """`stitched-vector`: {"values": [...]}, and "trust" where there is a gauge.

    The values are the vector of a target that was fitted as such, with the pooling that was saved with it
    (`embeddings`). Of any other target they are its embedding (`text_embeds`, `image_embeds`), else its pooled output,
    else one row of logits, else the mean over positions of its last hidden states. Of several windows they are
    averaged, each weighed by its length.
    """

    ROWS = ("embeddings", "text_embeds", "image_embeds", "pooler_output", "logits")

    def _forward(self, model_inputs: dict[str, Any]) -> dict[str, Any]:
        frames, mask, plan = self.model.crossing(model_inputs["inputs"])
        trust = {} if self.model.trust is None else {"trust": self.model.trusted(frames, plan).score}
        output = self.model.finish(self.model.stitch(frames, mask, plan), plan.mask)
        rows = self._rows(output, plan.mask)
        check_finite(self.model.config, rows)
        told = [{key: float(score[i]) for key, score in trust.items()} for i in range(len(rows))]
        return {"answers": list(zip(rows.double(), told))}

    def _rows(self, output: Any, mask: Tensor) -> Tensor:
        """(b, k) of the output, which has `mask` (b, t) at the hook point."""
        for key in self.ROWS:
            if output.get(key) is not None and output[key].ndim == 2:
                return output[key]
        states = output.get("last_hidden_state")
        if states is None or states.ndim != 3:
            raise DataError(
                f"the target's output ({', '.join(output)}) holds no vector an input; read it by the model itself"
            )
        if states.shape[1] != mask.shape[1]:  # pictures with a class token, pooled frames: all positions are real
            return states.mean(1)
        weight = mask.unsqueeze(-1)
        return torch.where(weight, states, 0).sum(1) / weight.sum(1)

    def postprocess(self, model_outputs: list[Any]) -> dict[str, Any]:
        values = _weighed([(window, row) for window, (row, _) in model_outputs])
        trust = min((told["trust"] for _, (_, told) in model_outputs if told), default=None)
        return {"values": values.tolist()} | ({} if trust is None else {"trust": trust})
