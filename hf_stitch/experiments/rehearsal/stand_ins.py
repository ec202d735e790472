"""Stand-ins of models and what prepares their inputs: true shapes, random weights, nothing downloaded."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PretrainedConfig, PreTrainedModel

from hf_stitch.activations.hooked_model import HookedModel, hooked_model_of
from hf_stitch.errors import ArtifactError, RecipeError, StitchError
from hf_stitch.experiments.rehearsal.synthetic import WORDS
from hf_stitch.hooks.input_shapes import image_size
from hf_stitch.loading.modality import input_name, modality
from hf_stitch.loading.model_classes import check_family, class_of
from hf_stitch.loading.models import resolve, uniform
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.sentence_transformers import transformer_class
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.generation import Generation
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.runtime import Runtime

PIECE = 5  # letters of a token, by hand: English words then have 1.3 tokens, as with common tokenizers
FRAMES = {"xlnet": (0, 2, "left"), "t5": (0, 1, "right"), "gpt2": (0, 0, "left"), "llama": (0, 0, "left")}
"""Special tokens before and after a text, and the padding side, as of the families' tokenizers; else (1, 1, right)."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def stand_in(
    side: Side, config: PretrainedConfig, runtime: Runtime, seed: int, scratch: Path, generation: Generation | None
) -> HookedModel:
    """A hooked model of this configuration with random weights.

    Args:
        scratch: folder for what tokenizers read. generation: as `open_hooked_model`.

    Its own tokenizer or feature extractor serves where it is at hand, else a synthetic one.

    Raises:
        RecipeError: the configuration makes no model. HookError: no usable hook point there.
    """
    # Before the model is made, which draws its weights.
    torch.manual_seed(seed)
    model_class = class_of(config, side.class_ or _saved_class(side, config))
    try:
        with quiet():
            model = model_class._from_config(config)
    except StitchError:
        raise
    except Exception as error:  # each family refuses wrong sizes in its own way
        if side.class_ is not None:
            check_family(model_class, config, side.model)
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise RecipeError(
            f"model {side.model!r}: its configuration makes no {model_class.__name__}: {first}"
        ) from error
    model = uniform(model, runtime.dtype).to(runtime.device).eval()
    if runtime.dtype is not None:
        model = model.to(runtime.dtype)
    return hooked_model_of(
        side, model, _preparer(side, model, scratch), digest([config.to_dict(), seed]), runtime, generation
    )


def _saved_class(side: Side, config: PretrainedConfig) -> str | None:
    """The class that a fit takes for what sentence-transformers saved, where that is at hand."""
    with suppress(RecipeError):
        return transformer_class(resolve(side.model), config, side.revision)
    return None


def _preparer(side: Side, model: PreTrainedModel, scratch: Path) -> Preparer:
    with suppress(ArtifactError):
        return Preparer.for_model(side, model)
    config, kind = model.config, modality(model)
    tool = {"text": text_tool, "audio": audio_tool, "image": image_tool}[kind](config)
    made = Preparer.of(kind, config, input_name(model), tool, model.dtype)
    if type(model).__name__.endswith("ForCTC"):
        return dataclasses.replace(made, tokenizer=letters_tool(config, scratch))
    if kind != "text" and model.can_generate():  # for the texts that it generates
        return dataclasses.replace(made, tokenizer=text_tool(getattr(config, "decoder", config)))
    return made


def audio_tool(config: PretrainedConfig) -> Any:
    """A feature extractor of the kind that the model type has."""
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    inner = getattr(config, "encoder", config)
    kind = getattr(inner, "model_type", config.model_type)
    found = getattr(transformers, FEATURE_EXTRACTOR_MAPPING_NAMES.get(kind, "Wav2Vec2FeatureExtractor"))
    bins = getattr(inner, "num_mel_bins", None)
    return found(feature_size=bins) if bins and kind == "whisper" else found()


def image_tool(config: PretrainedConfig) -> Any:
    from transformers import ViTImageProcessor

    size = image_size(config) or 224  # the usual one, where a network takes any
    height, width = size if isinstance(size, list | tuple) else (size, size)
    return ViTImageProcessor(size={"height": height, "width": width})


def text_tool(config: PretrainedConfig) -> Any:
    """A tokenizer of the model's vocabulary size, special tokens and padding side, whose tokens are word pieces."""
    from transformers import PreTrainedTokenizerFast

    size = config.get_text_config().vocab_size
    before, after, side = FRAMES.get(config.model_type, (1, 1, "right"))
    names = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    vocabulary: dict[str, int] = {}
    for key, name in names.items():
        wanted = getattr(config, key + "_id", None)
        taken = set(vocabulary.values())
        free = next(i for i in range(size) if i not in taken)
        vocabulary[name] = wanted if isinstance(wanted, int) and 0 <= wanted < size and wanted not in taken else free
    for piece in sorted({word[i : i + PIECE] for word in WORDS for i in range(0, len(word), PIECE)}):
        if len(vocabulary) < size:
            # From the top: low ids are special tokens in most vocabularies.
            vocabulary[piece] = next(i for i in range(size - 1, -1, -1) if i not in set(vocabulary.values()))
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    pieces = pre_tokenizers.Split(Regex(f"\\w{{1,{PIECE}}}"), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pieces])
    frame = ["<s>"] * before + ["$A"] + ["</s>"] * after
    made.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=[(name, vocabulary[name]) for name in ("<s>", "</s>")]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, padding_side=side, **names)


def letters_tool(config: PretrainedConfig, scratch: Path) -> Any:
    """A recogniser's alphabet: blank, word delimiter and letters, as many classes as the head has."""
    from transformers import Wav2Vec2CTCTokenizer

    blank = config.pad_token_id or 0
    names = iter(["|", "<unk>", *LETTERS, "'", "<s>", "</s>"])
    vocabulary = {"<pad>" if i == blank else next(names, f"<{i}>"): i for i in range(config.vocab_size)}
    path = scratch / f"letters-{digest(vocabulary)}.json"
    path.write_text(json.dumps(vocabulary))
    return Wav2Vec2CTCTokenizer(str(path), pad_token="<pad>", unk_token="<unk>", word_delimiter_token="|")
