"""Folders of sentence-transformers: which part holds the transformer, how texts are read, what makes the vector.

`modules.json` lists the parts: the transformer lies at the root or in a folder such as `0_Transformer`, the others
(`1_Pooling`, `2_Dense`, `3_Normalize`) in theirs. Read are JSON and safetensors alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from hf_stitch.errors import ArtifactError
from hf_stitch.loading.safetensors_only import repository_file
from hf_stitch.loading.vector_head import POOLINGS, VectorHead

MODULES, POOLING = "modules.json", "1_Pooling"
TRANSFORMERS = ("Transformer", "BERT", "RoBERTa", "DistilBERT", "ALBERT", "CamemBERT", "XLMRoBERTa", "XLNet", "T5")
"""Names of the class that holds the transformer: the first, and those of sentence-transformers before 0.4."""
WITHOUT_EFFECT = ("Dropout",)  # outside of training
READINGS = ("sentence_bert_config.json", *(f"sentence_{name}_config.json" for name in (
    "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")))  # fmt: skip
SETTINGS = "config_sentence_transformers.json"
OLD_POOLING = {f"pooling_mode_{name}": name for name in POOLINGS} | {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
"""Flags of a pooling's config.json, and the way that each stands for."""


@dataclass(frozen=True)
class SentenceTransformer:
    """A model as sentence-transformers saved it.

    Attributes:
        place: its folder or Hub id. revision: of a Hub id.
        transformer: where the transformer lies in it, "" for the root.
        parts: (class, folder) of what follows, in order.
    """

    place: str
    revision: str | None
    transformer: str
    parts: tuple[tuple[str, str], ...]

    @classmethod
    def at(cls, place: str, revision: str | None = None) -> SentenceTransformer | None:
        """What lies at a folder or Hub id; None where sentence-transformers saved nothing there.

        Raises:
            ArtifactError: a list of modules that cannot be read.
        """
        listed = _json(place, MODULES, revision)
        if listed is None:
            alone = _json(place, f"{POOLING}/config.json", revision) if Path(place).is_dir() else None
            return None if alone is None else cls(place, revision, "", (("Pooling", POOLING),))
        try:
            ordered = sorted(listed, key=lambda one: int(one.get("idx", 0)))
            found = [(str(one["type"]).rpartition(".")[2], str(one.get("path") or "").strip("/")) for one in ordered]
        except (TypeError, KeyError, ValueError, AttributeError):
            raise ArtifactError(f"{place}: {MODULES} is no list of modules; download or copy it again") from None
        if any(Path(path).is_absolute() or ".." in Path(path).parts for _, path in found):
            raise ArtifactError(f"{place}: {MODULES} names a folder outside of the model's own; copy it again")
        if not found or found[0][0] not in TRANSFORMERS:
            return None  # word vectors and the like, which are no transformers
        return cls(place, revision, found[0][1], tuple(found[1:]))

    def head(self) -> VectorHead | None:
        """What makes the vector; None where no pooling is named, so that the vector is anything that one takes.

        Raises:
            ArtifactError: a part that is not known, or whose files are missing or damaged.
        """
        if not self.parts:
            return None
        name, path = self.parts[0]
        if name != "Pooling":
            raise self._unknown(name)
        pooling, steps, weights = self._pooling(path), [], []
        for name, path in self.parts[1:]:
            if name not in WITHOUT_EFFECT:
                steps.append(self._step(name, path))
                weights.append(path)
        head = VectorHead(pooling=pooling, steps=steps, origin="its folder")
        for step, path in zip(head.steps, weights):
            if next(step.parameters(), None) is not None:
                self._fill(step, path)
        return head.eval()

    def _pooling(self, path: str) -> list[str]:
        config = self._config(path)
        if not config.get("include_prompt", True) and self._prompt():
            raise ArtifactError(f"{self.place}: {path} leaves its prompt out of the pooling, which is not supported")
        mode = config.get("pooling_mode")
        if mode is not None:
            names = [mode] if isinstance(mode, str) else list(mode)
        else:
            names = [name for flag, name in OLD_POOLING.items() if config.get(flag)]
        if not names or any(name not in POOLINGS for name in names):
            known = ", ".join(POOLINGS)
            raise ArtifactError(f"{self.place}: {path}/config.json pools by {names}; expected some of {known}")
        return names

    def _step(self, name: str, path: str) -> dict[str, Any]:
        if name == "Normalize":
            return {"kind": "normalize"}
        if name not in ("Dense", "LayerNorm"):
            raise self._unknown(name)
        config = self._config(path)
        try:
            if name == "LayerNorm":
                return {"kind": "layer_norm", "width": int(config["dimension"])}
            activation = _activation(str(config.get("activation_function", "torch.nn.modules.activation.Tanh")))
            width, outputs = int(config["in_features"]), int(config["out_features"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{self.place}: {path}/config.json describes no {name} ({error}); copy it again"
            ) from None
        bias = bool(config.get("bias", True))
        return {"kind": "dense", "width": width, "outputs": outputs, "bias": bias, "activation": activation}

    def _fill(self, step: nn.Module, path: str) -> None:
        """The weights of a step, from its folder."""
        file = repository_file(self.place, f"{path}/model.safetensors", revision=self.revision)
        if file is None:
            pickled = repository_file(self.place, f"{path}/pytorch_model.bin", revision=self.revision) is not None
            why = ", and pickles are never loaded: save the model again with sentence-transformers" if pickled else ""
            raise ArtifactError(f"{self.place}: no weights in safetensors in {path}{why}")
        try:
            step.load_state_dict(load_file(file))
        except (SafetensorError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0]
            raise ArtifactError(f"{self.place}: the weights in {path} are not those of its config ({first})") from error

    def _config(self, path: str) -> dict[str, Any]:
        found = _json(self.place, f"{path}/config.json", self.revision)
        if not isinstance(found, dict):
            raise ArtifactError(f"{self.place}: {path}/config.json is missing or no mapping; download or copy it again")
        return found

    def _unknown(self, name: str) -> ArtifactError:
        known = "Pooling, then Dense, LayerNorm and Normalize"
        return ArtifactError(
            f"{self.place}: its vectors come from a module {name}, which is not supported; expected {known}"
        )

    def _prompt(self) -> str:
        """What sentence-transformers puts before every text, unless told otherwise."""
        settings = _json(self.place, SETTINGS, self.revision)
        prompts = settings.get("prompts") if isinstance(settings, dict) else None
        name = settings.get("default_prompt_name") if isinstance(settings, dict) else None
        return str(prompts.get(name) or "") if name and isinstance(prompts, dict) else ""

    def reading(self, tokenizer: Any) -> Any:
        """A tokenizer that reads texts as sentence-transformers does: without blanks around, in lower case where that
        is asked for, behind the model's own prompt, and no more tokens than it takes.

        Raises:
            ArtifactError: a tokenizer that cannot be told so.
        """
        paths = [f"{self.transformer}/{name}".lstrip("/") for name in READINGS]
        found = next((one for path in paths if (one := _json(self.place, path, self.revision)) is not None), None)
        asked: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
        lower, prompt, most = bool(asked.get("do_lower_case")), self._prompt(), asked.get("max_seq_length")
        inner = getattr(tokenizer, "backend_tokenizer", None)
        if inner is not None:
            tokenizer = _normalising(tokenizer, lower, prompt)
        elif lower or prompt:
            raise ArtifactError(f"{self.place}: {type(tokenizer).__name__} takes no prompt and no lower case; save a "
                                "fast tokenizer (tokenizer.json) there")  # fmt: skip
        if isinstance(most, int) and most > 0:
            tokenizer.model_max_length = most
        return tokenizer


def transformer_in(folder: Path) -> Path:
    """The folder of the transformer itself: another than the model's own where that has no config.json."""
    if (folder / "config.json").is_file() or (found := SentenceTransformer.at(str(folder))) is None:
        return folder
    return folder / found.transformer


def transformer_class(place: str, config: Any, revision: str | None = None) -> str | None:
    """Name of the class of a transformer that sentence-transformers saved; None where it did not.

    It loads the model without a head whatever class is named in config.json, and of encoder-decoders the encoder.
    """
    from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES

    found = SentenceTransformer.at(whole(place), revision)
    if found is None:
        return None
    name = MODEL_MAPPING_NAMES.get(config.model_type)
    encoders = {"t5": "T5EncoderModel", "mt5": "MT5EncoderModel"}
    return encoders.get(config.model_type) or (name if isinstance(name, str) else None)


def whole(place: str) -> str:
    """The model's own folder, of which the transformer's may be a part."""
    folder = Path(place)
    if folder.is_dir() and not (folder / MODULES).is_file() and (folder.parent / MODULES).is_file():
        found = SentenceTransformer.at(str(folder.parent))
        if found is not None and found.transformer == folder.name:
            return str(folder.parent)
    return place


def _normalising(tokenizer: Any, lower: bool, prompt: str) -> Any:
    from tokenizers import normalizers
    from transformers import PreTrainedTokenizerFast

    inner = tokenizer.backend_tokenizer
    steps = [normalizers.Strip(), *([normalizers.Lowercase()] if lower else [])]
    steps += [normalizers.Prepend(prompt)] if prompt else []
    steps += [inner.normalizer] if inner.normalizer is not None else []
    inner.normalizer = normalizers.Sequence(steps)
    # A tokenizer of a model's own class is made from its vocabulary when it is loaded, without what was put before.
    kept = ("model_max_length", "padding_side", "truncation_side", "model_input_names")
    settings = {name: getattr(tokenizer, name) for name in kept}
    return PreTrainedTokenizerFast(tokenizer_object=inner, **settings, **tokenizer.special_tokens_map)


def _activation(name: str) -> str:
    """The name in torch.nn of an activation that is written with its module. Raises ValueError for any other."""
    module, _, last = name.rpartition(".")
    found = getattr(nn, last, None)
    if not module.startswith("torch.nn") or not isinstance(found, type) or not issubclass(found, nn.Module):
        raise ValueError(f"the activation {name} is none of torch.nn's")
    found()  # TypeError where it takes arguments, as a layer does
    return last


def _json(place: str, file: str, revision: str | None) -> Any:
    """What a JSON file of the model holds; None where it is not there."""
    found = repository_file(place, file, revision=revision)
    if found is None:
        return None
    try:
        return json.loads(found.read_text(encoding="utf-8"))
    except ValueError:
        raise ArtifactError(f"{place}: {file} is no JSON; download or copy it again") from None
