"""What is asked of a stitched model directly: raw inputs in, plain answers or vectors out, and its processor."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.hooks.position_limit import telling
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.quiet import quiet
from hf_stitch.models.auto.readers import register_readers
from hf_stitch.models.batch_predictor import BatchPredictor, check_share
from hf_stitch.models.companions import Companions, folder_beside, tools_beside
from hf_stitch.models.labels import check_finite
from hf_stitch.models.reading import read_input
from hf_stitch.models.tasks import answer_of
from hf_stitch.runtime.progress import Advance, Silent
from hf_stitch.runtime.progress_bars import progress

logger = logging.getLogger(__name__)


class DirectUse:
    """A part of `StitchedModel`: what needs its processors, which lie where it was loaded from, or in `companions`."""

    companions: Companions | None = None
    """Of a model that was put together in memory; saved with it."""

    @property
    def processor(self) -> Any:
        """What prepares the source's inputs: what `AutoProcessor.from_pretrained` gives of the saved model.

        Of a model that hears and writes it is the feature extractor, and None where the source takes numbers.

        Raises:
            ArtifactError: the model was loaded from nowhere, and nothing prepares its inputs.
        """
        found = _kept(self)
        if "processor" not in found:
            found["processor"] = None if self._tools[0].modality == "vector" else _processor(self)
        return found["processor"]

    @property
    def _tools(self) -> tuple[Preparer, Any]:
        """What prepares raw inputs, and the target's tokenizer where one was saved."""
        found = _kept(self)
        if "tools" not in found:
            found["tools"] = tools_beside(self)
        return found["tools"]

    def predict(
        self,
        inputs: Any,
        batch_size: int = 8,
        abstain: float | None = None,
        *,
        on_error: Callable[[DataError], None] | None = None,
        show_progress_bar: bool = False,
    ) -> Any:
        """Answers to raw inputs, as `hf-stitch predict` gives them.

        Args:
            inputs: a list, or anything else that can be gone through, of what `read_input` takes: texts; sounds as
                arrays at the model's rate, {"array", "sampling_rate"}, paths or bytes; pictures; numbers. One of them
                alone gives one answer; an array is one input, unless it has an axis more than one.
            batch_size: inputs that run together. They answer together as alone.
            abstain: answer nothing where the trust score is below this share, such as 0.02.
            on_error: told of an input that cannot be used or answered, in whose place None then stands; absent: the
                error is raised.
            show_progress_bar: show on stderr how far it is.

        Returns:
            A dict an input: {"label", "score", "scores"}, {"values"} or {"text"}, with a trust gauge also "trust" and
            "trust_parts", and "abstained" where the answers are None.

        Raises:
            DataError: an input that cannot be used, by its place in the list. ArtifactError, RecipeError: a model that
                cannot be asked so, see `BatchPredictor`.
        """
        model: Any = self
        check_share(abstain)
        preparer, speller = self._tools
        name = model.name_or_path or "this model"
        predictor = BatchPredictor(model, preparer, speller, abstain, name)
        predictor.on_note = logger.warning
        raised = on_error or _raised

        def answered(batch: list[tuple[int, str, Any]]) -> Iterator[tuple[int, Any]]:
            for (place, _, _), answer in zip(batch, predictor.predict([(name, raw) for _, name, raw in batch])):
                if isinstance(answer, DataError):
                    raised(answer)
                    yield place, None
                else:
                    yield place, {key: value for key, value in answer.items() if key != "input"}

        return self._gone_through(inputs, batch_size, answered, raised, "predict" if show_progress_bar else None)

    def encode(
        self,
        inputs: Any,
        batch_size: int = 32,
        convert_to_numpy: bool = True,
        normalize_embeddings: bool = False,
        *,
        convert_to_tensor: bool = False,
        show_progress_bar: bool = False,
    ) -> Any:
        """The vectors of raw inputs, as `SentenceTransformer.encode` gives them.

        Args:
            inputs, batch_size, show_progress_bar: as for `predict`.
            convert_to_numpy: an array; else a list of tensors, or with `convert_to_tensor` one tensor.
            normalize_embeddings: divide each by its length.

        Returns:
            (n, k) float32; of one input alone (k,).

        Raises:
            ArtifactError: the target answers with something else than a vector.
            DataError: an input that cannot be used, by its place in the list.
        """
        model: Any = self
        suffix = model.config.ends["suffix"]
        if "vector" not in suffix:
            raise ArtifactError(
                f"encode gives vectors, and the target {suffix.get('class')} answers with {_answer(model)}: use predict"
            )
        preparer, _ = self._tools
        if model.rule.needs_times:
            raise ArtifactError("this model takes the words of a sound and their times beside it: use the model itself")

        def embedded(batch: list[tuple[int, str, Any]]) -> Iterator[tuple[int, Tensor]]:
            made = preparer.batch([raw for _, _, raw in batch])
            tell = lambda cut: logger.warning("%s: %s", batch[cut.row][1], cut)  # noqa: E731
            with telling(tell), torch.inference_mode():
                rows = model(**{key: value.to(model.device) for key, value in made.items()}).embeddings.float()
            for (place, name, _), row in zip(batch, rows):
                try:
                    check_finite(model.config, row)
                except DataError as error:
                    raise DataError(f"{name}: {error}") from None
                yield place, nn.functional.normalize(row, dim=0) if normalize_embeddings else row

        found = self._gone_through(inputs, batch_size, embedded, _raised, "encode" if show_progress_bar else None)
        many = isinstance(found, list)
        if convert_to_tensor or convert_to_numpy:
            empty = torch.zeros(0, int(suffix["vector"]["width"]))
            found = (torch.stack(found) if found else empty) if many else found
        return found.cpu().numpy() if convert_to_numpy and not convert_to_tensor else found

    def _gone_through(
        self,
        inputs: Any,
        batch_size: int,
        run: Callable[[list[tuple[int, str, Any]]], Iterator[tuple[int, Any]]],
        raised: Callable[[DataError], None],
        shown: str | None,
    ) -> Any:
        """What `run` makes of batches of (place, name, raw input), in order; of a single input one."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer) or batch_size < 1:
            raise RecipeError(f"batch_size: expected a whole number from 1 on; got {batch_size!r}")
        preparer, _ = self._tools
        single = _is_one(preparer, inputs)
        if not single and not isinstance(inputs, Iterable):
            raise DataError(f"expected {preparer.modality} inputs in a list; got {type(inputs).__name__}")
        given = [inputs] if single else inputs if isinstance(inputs, Sequence) else list(inputs)
        found: list[Any] = [None] * len(given)
        bar = progress() if shown else Silent()
        with _evaluating(self), bar.stage(shown or "", len(given)) as advance:
            batch: list[tuple[int, str, Any]] = []
            for place, one in enumerate(given):
                name = _name_of(place, one)
                try:
                    raw, notes = read_input(preparer, one, name)
                except DataError as error:
                    raised(error if name in str(error) else DataError(f"{name}: {error}"))
                    advance(1)
                    continue
                for note in notes:
                    logger.warning("%s: %s", name, note)
                batch.append((place, name, raw))
                if len(batch) == batch_size:
                    _take(found, batch, run, advance)
                    batch = []
            _take(found, batch, run, advance)
        return found[0] if single else found


def _take(found: list[Any], batch: list[tuple[int, str, Any]], run: Callable[..., Any], advance: Advance) -> None:
    if batch:
        for place, answer in run(batch):
            found[place] = answer
        advance(len(batch))


def _raised(error: DataError) -> None:
    raise error


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """In evaluation mode for as long as this lasts."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


def _kept(model: Any) -> dict[str, Any]:
    """What was loaded beside the model, as long as it is the same model."""
    of = (model.name_or_path, id(model.companions))
    kept = vars(model).get("_beside")
    if kept is None or kept["of"] != of:
        kept = vars(model)["_beside"] = {"of": of}
    return kept


def _processor(model: Any) -> Any:
    from transformers import AutoFeatureExtractor, AutoProcessor

    register_readers()
    with folder_beside(model) as folder, quiet():
        found = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
        hears = model._tools[0].modality == "audio"
        if hears and not (hasattr(found, "feature_extractor") or hasattr(found, "sampling_rate")):
            # What spells the answers lies there too, and is taken first.
            return AutoFeatureExtractor.from_pretrained(folder, trust_remote_code=False)
        return found


def _answer(model: Any) -> str:
    found = answer_of(model.config)
    return {"labels": "labels", "text": "texts", "frames": "texts", "vector": "numbers"}[found]


def _name_of(place: int, given: Any) -> str:
    shown = f" ({str(given)[:40]!r})" if isinstance(given, str | os.PathLike) else ""
    return f"inputs[{place}]{shown}"


def _is_one(preparer: Preparer, given: Any) -> bool:
    """Whether what was given is one input, and not many."""
    kind = preparer.modality
    if isinstance(given, str | bytes | os.PathLike | Mapping | Number) or type(given).__module__.startswith("PIL."):
        return True
    if isinstance(given, np.ndarray | Tensor):
        if kind == "vector" and preparer.width == 1:
            return given.ndim == 0
        return given.ndim <= {"audio": 2, "image": 3, "text": 0}.get(kind, 1)
    numbers = isinstance(given, list | tuple) and bool(given) and all(isinstance(one, Number) for one in given)
    return numbers and (kind == "audio" or (kind == "vector" and preparer.width != 1))
