"""Pretrained models by the name that a recipe gives: a `zoo:` name, a local folder, or a Hub id.

Only safetensors are read and remote code is never run. Weights that the checkpoint lacks would be random, so that is an
error here and not a warning; unless config.json alone asks for them, and another class of the family lacks none.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_stitch.errors import ArtifactError, RecipeError, StitchError
from hf_stitch.loading.model_classes import check_family, class_of, register_ours
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.safetensors_only import as_published, weight_files, without_safetensors
from hf_stitch.loading.sentence_transformers import transformer_class, transformer_in
from hf_stitch.loading.whole_class import lacks_pooler_alone, missing_weights, whole_class, without_pooler
from hf_stitch.recipe.names import is_elsewhere, is_folder, is_in_memory, is_path, is_shipped, is_there, local_path
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.device import pick_device, pick_dtype

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig, PreTrainedModel


def resolve(name: str) -> str:
    """What transformers takes for a recipe's `model`: the zoo's folder, a local folder, or the Hub id itself.

    Raises:
        ZooError: unknown zoo name. RecipeError: a name that can only be a folder, and there is none.
    """
    if is_shipped(name):
        from hf_stitch.zoo.catalogue import resolve_model

        return str(resolve_model(name))
    if is_in_memory(name):
        raise RecipeError(
            f"model {name!r} was an object in memory where the map was fitted, and no name finds it again: from Python "
            'hand it over, as evaluate(DIR, data=..., models={"source": model}) does, or stitch anew; or name a folder '
            "that holds it (source.model=FOLDER, target.model=FOLDER)"
        )
    if is_elsewhere(name):
        raise RecipeError(
            f"model {name!r} was a folder where the map was fitted, and its place is not told: name one that is here "
            "(source.model=FOLDER, target.model=FOLDER)"
        )
    folder = local_path(name)
    if is_folder(folder):
        folder = transformer_in(folder)
        if not (folder / "config.json").is_file():
            raise RecipeError(f"model {name!r}: the folder has no config.json; expected what save_pretrained writes")
        return str(folder)
    if is_there(folder) or is_path(name):
        raise RecipeError(f"model {name!r}: no such folder; expected zoo:NAME, a saved model's folder or a Hub id")
    return name


def load_config(side: Side) -> PretrainedConfig:
    """The model's configuration; errors as `load_model`."""
    from transformers import AutoConfig, PretrainedConfig

    place = resolve(side.model)
    with _explained(side):
        # Read as plain data first: AutoConfig refuses model types that are not registered yet.
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
    asked = side.class_ or transformer_class(resolve(side.model), config, side.revision)
    model_class = class_of(config, asked)
    # Quiet: its warnings of missing weights are checked below, and are errors.
    with _explained(side), _of_its_family(model_class, config, side), quiet(), as_published():
        # Called for what it refuses.
        weight_files(resolve(side.model), config, revision=side.revision)
        where = {"revision": side.revision, "use_safetensors": True, "trust_remote_code": False}
        model, info = _loaded(model_class, config, side, dtype, where)
        missing = missing_weights(info)
        if missing and asked is not None and lacks_pooler_alone(missing):
            without_pooler(model, missing)
        elif missing:
            whole = whole_class(config, resolve(side.model), **where)
            if whole is None or (side.class_ is not None and whole is not model_class):
                raise ArtifactError(_lacking(side, model_class, missing, whole))
            model, info = _loaded(whole, config, side, dtype, where)
            without_pooler(model, missing_weights(info))
    uniform(model, pick_dtype(dtype))
    if device is not None:
        model = model.to(pick_device(device))
    return model.eval()


def _loaded(model_class: Any, config: PretrainedConfig, side: Side, dtype: Any, where: dict[str, Any]) -> Any:
    return model_class.from_pretrained(
        resolve(side.model), config=config, dtype=pick_dtype(dtype), output_loading_info=True, **where
    )


def _lacking(side: Side, model_class: Any, missing: list[str], whole: Any) -> str:
    """What is told of a checkpoint without weights of the class, and which class to take."""
    name = model_class.__name__
    advice = "no class of its family has all of its weights there: get a whole checkpoint"
    if whole is not None:
        advice = f"the checkpoint has all of {whole.__name__}: set `class` to that"
    return (
        f"model {side.model!r}: {len(missing)} weights of {name} are not in the checkpoint and would be random, the "
        f"first {missing[0]!r}; {advice}"
    )


def uniform(model: PreTrainedModel, dtype: torch.dtype | None) -> PreTrainedModel:
    """Give all parameters the dtype that was asked for, in place: some of XLNet's come in float32 whatever is asked.

    Models that keep chosen modules in float32 on purpose are left as they are.
    """
    if dtype is not None and not getattr(model, "_keep_in_fp32_modules", None):
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.data = parameter.data.to(dtype)
    return model


@contextmanager
def _of_its_family(model_class: Any, config: PretrainedConfig, side: Side) -> Iterator[None]:
    """Where a class that was asked for fails, tell if it is of another family: what it raises says nothing of that."""
    try:
        yield
    except (StitchError, OSError, MemoryError):
        raise
    except Exception:  # whatever its constructor does with a foreign configuration
        if side.class_ is not None:  # after, not before: a class may know how to take a larger model's configuration
            check_family(model_class, config, side.model)
        raise


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
    # transformers tells these errors apart by their words alone, so the words are what is looked at.
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    local = is_folder(Path(resolve(side.model)))
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
