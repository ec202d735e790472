"""What a model's inputs look like: read off its configuration, and off those inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn
from transformers import PretrainedConfig

from hf_stitch.hooks import symbolic_shapes
from hf_stitch.hooks.arguments import arguments_of

_BATCH: symbolic_shapes.Dim = [1, 0, 1]
_TIME: symbolic_shapes.Dim = [0, 1, 0]
PIXELS = ("pixel_values", "pixel_values_videos")
# Names that transformers' configurations have for one thing.
_VOCABULARY = ("vocab_size", "vocabulary_size", "num_hash_buckets")  # the last: CANINE, whose tokens are characters
_MEL_WIDTH = ("feature_projection_input_dim", "input_feat_per_channel", "num_mel_bins", "feature_size", "mel_bins")
_FRAMES = ("num_frames", "frames_per_clip")
# Where the part that reads an input lies, the likeliest first.
_READERS = {
    "text": ("text_config", "text_encoder", "encoder", "decoder"),
    "decoder": ("decoder", "text_config"),
    "pixels": ("vision_config", "image_config", "encoder"),
    "sound": ("audio_config", "audio_encoder", "encoder"),
}
_SCALE = 32  # pixels that become one in the last stage of networks without a size of their own: ResNet, RegNet, BiT


def main_input(model: Any) -> str:
    """Name of the main input of a model or its class, as data are handed to it."""
    accepted = [name for name in arguments_of(model) if name != "self"]
    name = getattr(model, "main_input_name", None)
    if name == "inputs":  # Perceiver, which says what they are by a second name
        name = next((other for other in ("input_ids", "pixel_values") if other in accepted), name)
    if name not in accepted and accepted:
        named = {"input", "inputs"} & set(accepted)  # what `nn.Module` inherits may be hidden behind *args
        return accepted[0] if name is None or not named else named.pop()
    return str(name)


def parts(config: Any, reader: str = "") -> Iterator[Any]:
    """A configuration and all those inside it, near ones first; among these the ones that read such an input."""
    level = [config] if config is not None else []
    while level:
        yield from level
        below: list[Any] = []
        for part in level:
            held = {key: value for key, value in vars(part).items() if isinstance(value, PretrainedConfig)}
            likely = [key for key in _READERS.get(reader, ()) if key in held]
            below += [held[key] for key in dict.fromkeys([*likely, *held])]
        level = below


def named(config: Any, names: tuple[str, ...], reader: str = "") -> Any:
    """The first value that a configuration, or one inside it, has under one of these names; None without any."""
    for part in parts(config, reader):
        for name in names:
            value = getattr(part, name, None)
            if value is not None:
                return value
    return None


def vocabulary(config: Any, decoder: bool = False) -> int | None:
    """How many tokens a model reads, or its decoder; None of a model without any."""
    if decoder:
        for part in (getattr(config, name, None) for name in _READERS["decoder"]):
            if isinstance(size := getattr(part, "vocab_size", None), int):
                return size
    size = named(config, _VOCABULARY, "text")
    return size if isinstance(size, int) else None


def special_ids(config: Any) -> set[int]:
    """All token ids with a meaning of their own that a config names."""
    found = [value for key, value in vars(config).items() if key.endswith("_token_id")] if config is not None else []
    flat = [v for value in found for v in (value if isinstance(value, list | tuple) else [value])]
    return {v for v in flat if isinstance(v, int)}


def float_shape(
    model: nn.Module, config: Any, key: str, sizes: Mapping[str, tuple[int, ...]]
) -> list[symbolic_shapes.Dim] | None:
    """Shape of a float input as formulas of batch and length; None where nothing of it is known.

    Args:
        sizes: shapes of one sample of an input, as its processor makes it, by the input's name.
    """
    if key in sizes:
        return [_BATCH, *sizes[key]]
    if key in PIXELS:
        return _pixels(config)
    if key in ("input_values", "inputs") and (found := _samples(model, config)) is not None:
        return found
    if key in ("input_values", "input_features") and (found := _spectrogram(config, key)) is not None:
        return found
    width = vector_width(model)
    return None if width is None else [_BATCH, width]


def image_size(config: Any) -> Any:
    """Height and width of the pictures that a model reads, or one number for both; None of one that takes any."""
    size = named(config, ("image_size", "img_size", "crop_size"), "pixels")
    return size[-2:] if isinstance(size, list | tuple) else size


def _pixels(config: Any) -> list[symbolic_shapes.Dim]:
    size = image_size(config)
    # Without a size of its own a network takes any, and the activations tell at which one its second half runs.
    grown: symbolic_shapes.Dim = [0, _SCALE, 0]
    height, width = (grown, grown) if size is None else size if isinstance(size, list | tuple) else (size, size)
    channels = named(config, ("num_channels", "in_channels", "in_chans"), "pixels") or 3
    # Perceiver has the frames of its videos in the configuration of every kind of input.
    frames = None if hasattr(config, "num_latents") else named(config, _FRAMES, "pixels")
    return [_BATCH, *([] if frames is None else [frames]), channels, height, width]


def _samples(model: nn.Module, config: Any) -> list[symbolic_shapes.Dim] | None:
    """Raw sound of f frames; None of a model that has no convolutions over it."""
    audio: Any = next((part for part in parts(config, "sound") if hasattr(part, "conv_kernel")), None)
    if isinstance(getattr(audio, "conv_kernel", None), list | tuple):
        layers = [(kernel, stride, 0) for kernel, stride in zip(audio.conv_kernel, audio.conv_stride)]
        return [_BATCH, _unshortened(layers)]
    hop, channels = named(config, ("hop_length",), "sound"), named(config, ("audio_channels",), "sound")
    if isinstance(hop, int) and named(config, ("num_mel_bins",), "sound") is None:
        return [_BATCH, channels or 1, [0, hop, 0]]
    chain = list(_convolutions(model))
    strided = prod(stride for _, stride, _ in chain)
    # By hand: fewer samples a frame are no raw sound. Its first convolution is over one channel.
    return [_BATCH, *([channels] if channels else []), _unshortened(chain)] if strided >= 16 else None


def _unshortened(layers: list[tuple[int, int, int]]) -> symbolic_shapes.Dim:
    """Samples of f frames behind convolutions (kernel, stride, padding), as a formula."""
    slope, offset = prod(stride for _, stride, _ in layers), 0
    for kernel, stride, padding in reversed(layers):
        # invert out = (in + 2 padding - kernel) // stride + 1 layer by layer
        offset = offset * stride + kernel - stride - 2 * padding
    return [0, slope, offset]


def _convolutions(model: nn.Module) -> Iterator[tuple[int, int, int]]:
    """The convolutions one behind the other with which a model begins on one channel."""
    found = [module for module in model.modules() if isinstance(module, nn.Conv1d)]
    first = next((i for i, module in enumerate(found) if module.in_channels == 1), None)
    if first is None:
        return
    chain = found[first:]
    fitting = [one.out_channels == other.in_channels for one, other in pairwise(chain)]
    for module in chain[: 1 + next((i for i, fits in enumerate(fitting) if not fits), len(fitting))]:
        padding = module.padding[0] if isinstance(module.padding[0], int) else 0
        yield module.kernel_size[0], module.stride[0], padding


def _spectrogram(config: Any, key: str) -> list[symbolic_shapes.Dim] | None:
    audio = next((part for part in parts(config, "sound") if any(hasattr(part, name) for name in _MEL_WIDTH)), None)
    if audio is None:
        return None
    bins = next(getattr(audio, name) for name in _MEL_WIDTH if hasattr(audio, name))
    if hasattr(audio, "num_mel_bins"):
        if hasattr(audio, "spec_size"):
            # CLAP folds its spectrogram into a square picture
            return [_BATCH, 4 if audio.enable_fusion else 1, audio.spec_size**2 // bins, bins]
        if hasattr(audio, "max_source_positions") and not hasattr(audio, "input_feat_per_channel"):
            # Whisper takes one length only, which its convolutions halve
            return [_BATCH, bins, 2 * audio.max_source_positions]
        if key == "input_values" and hasattr(audio, "max_length"):
            return [_BATCH, audio.max_length, bins]
    return [_BATCH, _TIME, bins] if key == "input_features" else None


def vector_width(model: nn.Module) -> int | None:
    """How many numbers a model of vectors takes: `config.layer_sizes[0]`, or the first nn.Linear's; None if neither."""
    sizes = getattr(getattr(model, "config", None), "layer_sizes", None)
    first = next((m for m in model.modules() if next(m.parameters(recurse=False), None) is not None), None)
    if sizes:
        return int(sizes[0])
    return first.in_features if isinstance(first, nn.Linear) else None
