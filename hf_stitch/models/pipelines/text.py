"""The pipeline `stitched-text`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hf_stitch.errors import RecipeError
from hf_stitch.models.labels import check_finite
from hf_stitch.models.pipelines.audio_windows import Window, check_lengths, strided_windows
from hf_stitch.models.pipelines.base import StitchedPipeline
from hf_stitch.models.tasks import answer_of, samples_per_position


class StitchedTextPipeline(StitchedPipeline):
    """`stitched-text`: {"tokens": [...]}, with the target's tokenizer also "text".

    Further arguments of a call (`num_beams`, `max_new_tokens`, ...) are those of the target's `generate`; without them
    its own settings hold. Generated windows follow one another, their texts joined by a blank. CTC: the most likely
    class of each position, of all windows in a row, is what the tokenizer collapses and spells. Of several windows
    "windows" holds the text of each.
    """

    @property
    def spelling(self) -> Any:
        """The target's tokenizer; None where none was saved."""
        own = self.preparer.tokenizer if self.preparer.modality == "text" and self._shared else None
        return self.speller or own

    @property
    def _shared(self) -> bool:
        return bool(self.model.config.ends["suffix"].get("shares_tokens"))

    @property
    def _frames(self) -> bool:
        return answer_of(self.model.config) == "frames"

    def _windows(self, samples: np.ndarray, chunk: float, stride: float) -> list[Window]:
        if not self._frames:
            return super()._windows(samples, chunk, stride)
        rate = self.preparer.rate
        samples_per_position(self.model.config)  # refuses rules under which positions have no place in the sound
        check_lengths(chunk, stride, self.preparer.minimum / rate)
        return strided_windows(len(samples), rate, chunk, stride)

    def _forward(self, model_inputs: dict[str, Any], **settings: Any) -> dict[str, Any]:
        inputs, windows = model_inputs["inputs"], model_inputs["windows"]
        if self._frames:
            return {"answers": self._classes(inputs, windows)}
        tokens = self.model.generate(**inputs, **settings)
        tokens = tokens if isinstance(tokens, Tensor) else tokens.sequences
        if len(tokens) != len(windows):
            raise RecipeError(f"{len(tokens)} answers to {len(windows)} inputs: this pipeline gives one, leave "
                              "num_return_sequences out or call model.generate")  # fmt: skip
        prompt = self.model.prompt(inputs)
        return {"answers": list(tokens[:, 0 if prompt is None else prompt.shape[1] :])}

    def _classes(self, inputs: dict[str, Tensor], windows: list[Window | None]) -> list[Tensor]:
        """The most likely class of each real position (t',), without those of the strides."""
        frames, mask, plan = self.model.crossing(inputs)
        logits = self.model.finish(self.model.stitch(frames, mask, plan), plan.mask).logits
        if logits.shape[1] == plan.mask.shape[1]:  # what padding holds is not read
            logits = torch.where(plan.mask.unsqueeze(-1), logits, 0)
        check_finite(self.model.config, logits)
        found = logits.argmax(-1)
        kept = []
        for row, real, window in zip(found, plan.mask, windows):
            row = row[: int(real.sum())] if len(row) == len(real) else row
            if window is not None:
                # By share, not by a fixed rate: convolutions lose a frame or two at the edges of a window.
                scale = len(row) / (window.stop - window.start)
                row = row[round(window.left * scale) : len(row) - round(window.right * scale)]
            kept.append(row)
        return kept

    def _spell(self, tokens: Tensor) -> str:
        return str(self.spelling.decode(tokens, skip_special_tokens=not self._frames))

    def postprocess(self, model_outputs: list[Any]) -> dict[str, Any]:
        parts = [tokens for _, tokens in model_outputs]
        whole: dict[str, Any] = {"tokens": torch.cat(parts).tolist()}
        if self.spelling is None:
            return whole
        texts = [self._spell(part) for part in parts]
        apart = " ".join(text.strip() for text in texts if text.strip())
        whole["text"] = self._spell(torch.cat(parts)) if self._frames else apart
        if model_outputs[0][0] is not None:
            stamps = [self.seconds(window) for window, _ in model_outputs]
            whole["windows"] = [{"timestamp": stamp, "text": text} for stamp, text in zip(stamps, texts)]
        return whole
