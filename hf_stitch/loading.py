"""Pretrained models by the name that a recipe gives: a `zoo:` name, a local folder, or a Hub id.

Only safetensors are read and remote code is never run. Weights that the checkpoint lacks would be random, so that is an
error here and not a warning.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import ArtifactError, RecipeError, StitchError, nearest
from hf_stitch.pickles import as_published, without_safetensors
from hf_stitch.recipe import Side

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

ZOO = "zoo:"
TRAINING_ONLY = ("masked_spec_embed",)
"""Ends of weight names that only training uses: many published speech checkpoints lack them."""


def resolve(name: str) -> str:
    """What transformers takes for a recipe's `model`: the zoo's folder, a local folder, or the Hub id itself.

    Raises:
        ZooError: unknown zoo name. RecipeError: a name that can only be a folder, and there is none.
    """
    if name.startswith(ZOO):
        from hf_stitch.zoo import resolve_model

        return str(resolve_model(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise RecipeError(f"model {name!r}: the folder has no config.json; expected what save_pretrained writes")
        return str(folder)
    if folder.exists() or name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise RecipeError(f"model {name!r}: no such folder; expected zoo:NAME, a saved model's folder or a Hub id")
    return name


def load_config(side: Side) -> PretrainedConfig:
    """The model's configuration; errors as `load_model`."""
    from transformers import AutoConfig, PretrainedConfig

    place = resolve(side.model)
    with _explained(side):
        plain, _ = PretrainedConfig.get_config_dict(place, revision=side.revision)
        register_ours(plain)
        return AutoConfig.from_pretrained(place, revision=side.revision, trust_remote_code=False)


def load_model(side: Side, *, dtype: Any = None, device: str | torch.device | None = None) -> PreTrainedModel:
    """The pretrained model in eval mode.

    Args:
        dtype: name of a torch dtype or the dtype itself; the checkpoint's own when absent.
        device: where to put it, see `pick_device`; the CPU when absent.

    Raises:
        RecipeError: unknown class, dtype, device or model name. ArtifactError: weights that are truncated, not in
        safetensors, of other shapes, or missing (they would be random).
    """
    config = load_config(side)
    model_class = class_of(config, side.class_)
    with _explained(side), quiet(), as_published():
        model, info = model_class.from_pretrained(
            resolve(side.model), config=config, revision=side.revision, dtype=pick_dtype(dtype),
            use_safetensors=True, trust_remote_code=False, output_loading_info=True,
        )  # fmt: skip
    missing = sorted(key for key in info["missing_keys"] if not key.endswith(TRAINING_ONLY))
    if missing:
        own = ", ".join(config.architectures or ["unknown"])
        raise ArtifactError(
            f"model {side.model!r}: {len(missing)} weights of {model_class.__name__} are not in the checkpoint and "
            f"would be random, the first {missing[0]!r}; it was saved from {own}: set `class` to that"
        )
    uniform(model, pick_dtype(dtype))
    if device is not None:
        model = model.to(pick_device(device))
    return model.eval()


def uniform(model: PreTrainedModel, dtype: torch.dtype | None) -> PreTrainedModel:
    """Give all parameters the dtype that was asked for, in place: some of XLNet's come in float32 whatever is asked.

    Models that keep chosen modules in float32 on purpose are left as they are.
    """
    if dtype is not None and not getattr(model, "_keep_in_fp32_modules", None):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
    return model


def class_named(name: str) -> Any:
    """The model class of that name, of transformers or of the zoo's networks. RecipeError when there is none."""
    import transformers

    found = getattr(transformers, name, None) or _our_class(name)
    if found is None or not hasattr(found, "from_pretrained"):
        known = [known for known in dir(transformers) if "For" in known or known.endswith("Model")]
        raise RecipeError(f"class {name!r}: no such model class in transformers; {nearest(name, known, limit=4)}")
    return found


def class_of(config: PretrainedConfig, name: str | None = None) -> Any:
    """The class called `name`, else the configuration's first architecture, else what AutoModel would take."""
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_MAPPING

    if name:
        return class_named(name)
    for wanted in (config.architectures or [])[:1]:
        with suppress(RecipeError):
            return class_named(wanted)
    return MODEL_MAPPING.get(type(config), transformers.AutoModel)


def pick_device(device: str | torch.device | None = None) -> torch.device:
    """The device called so, or the accelerator when there is one, else the CPU. RecipeError when it is not there."""
    import torch

    if device is None:
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError):
        advice = "leave it out, or give cpu, cuda or cuda:0"
        raise RecipeError(f"device {str(device)!r} is not available here; {advice}") from None
    return chosen


def pick_dtype(dtype: Any) -> torch.dtype | None:
    """A torch dtype by name; None stays None."""
    import torch

    known = ("float32", "float64", "float16", "bfloat16")
    if dtype is None or isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in known:
        raise RecipeError(f"dtype {dtype!r} is unknown; {nearest(str(dtype), known)}")
    found: torch.dtype = getattr(torch, dtype)
    return found


def register_ours(plain: dict) -> None:
    """Make AutoConfig know those model types in a plain configuration (parts included) that only we have."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from hf_stitch import speech_to_text_2

    unknown = {kind for kind in _model_types(plain) if kind not in CONFIG_MAPPING}
    if speech_to_text_2.MODEL_TYPE in unknown:
        speech_to_text_2.register()
    if unknown - {speech_to_text_2.MODEL_TYPE}:
        from hf_stitch.zoo.networks import register

        register()


def _model_types(plain: dict) -> Iterator[str]:
    for key, value in plain.items():
        if key == "model_type":
            yield str(value)
        elif isinstance(value, dict):
            yield from _model_types(value)


def _our_class(name: str) -> Any:
    from hf_stitch.zoo import networks

    if name == "Speech2Text2ForCausalLM":
        from hf_stitch.speech_to_text_2.modeling_speech_to_text_2 import Speech2Text2ForCausalLM

        return Speech2Text2ForCausalLM
    return networks.class_called(name)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from telling about loading: what matters of it is an error of ours."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _explained(side: Side) -> Iterator[None]:
    """Turn what transformers raises for bad names and files into one line that says what to do."""
    from safetensors import SafetensorError

    what = f"model {side.model!r}"
    try:
        yield
    except StitchError:
        raise
    except SafetensorError as error:
        raise ArtifactError(f"{what}: truncated or foreign weights ({error}); download or copy them again") from error
    except ModuleNotFoundError as error:
        raise RecipeError(f"{what}: its class needs a package that is not installed: {error.name}") from error
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise _explain(what, side, error) from error


def _explain(what: str, side: Side, error: Exception) -> StitchError:
    text = str(error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    local = Path(resolve(side.model)).is_dir()
    if "safetensors" in text:
        return ArtifactError(f"{what}: {without_safetensors(resolve(side.model), side.revision)}")
    if "size" in text and "mismatch" in text:
        return ArtifactError(f"{what}: weights and config.json differ in shape; they belong to different models")
    if "valid JSON" in text:
        return ArtifactError(f"{what}: its config.json is not JSON; download or copy it again")
    if "model_type" in text or "does not recognize" in text:
        return RecipeError(f"{what}: its config.json names no model type that transformers knows ({first})")
    if local:
        return ArtifactError(f"{what}: cannot be loaded: {first}")
    if "gated" in text or "401" in text:
        return RecipeError(f"{what}: access is restricted; ask for access on its page and run `hf auth login`")
    offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0") else ""
    revision = f" at revision {side.revision!r}" if side.revision else ""
    return RecipeError(
        f"{what}: neither a local folder nor a Hub model{revision} that could be reached{offline}; "
        "check the spelling and the network, or give a folder"
    )


def own_labels(config: Any) -> dict[str, int] | None:
    """The class names of a model, None where it has only LABEL_0, LABEL_1, ..."""
    labels = getattr(config, "label2id", None)
    if not labels or all(re.fullmatch(r"LABEL_\d+", str(name)) for name in labels):
        return None
    return {str(name): int(number) for name, number in labels.items()}
