"""Sound from a file, from bytes or from an array, as one float32 channel at the rate a model wants.

Files are decoded by soundfile (WAV, FLAC, Ogg, MP3, ...) and resampled by torchaudio on the model's device where the
extra `audio` is there, else by SciPy's polyphase filter, so that neither ffmpeg, torchaudio nor torchcodec is needed.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hf_stitch.errors import DataError
from hf_stitch.loading.sound_damage import damage_of_sound
from hf_stitch.recipe.names import is_file, local_path
from hf_stitch.runtime.torchaudio_extra import torchaudio

if TYPE_CHECKING:
    import torch

SILENCE = 1e-4
"""A sample whose every amplitude is below this (-80 dB of full scale, three steps of 16 bits) is silent; by hand."""

RATES = (50, 1_000_000)
"""Hz that a sound may have: by hand, beyond what is recorded; resampling from others would take gigabytes."""
KAISER = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "beta": 14.769656459379492}
"""Of torchaudio's filter: the values that its documentation calls `kaiser_best`."""

Sound = str | os.PathLike[str] | bytes | Mapping[str, Any]


@dataclass(frozen=True)
class Audio:
    """`samples` is (t,) float32 mono, about -1 to 1; `notes` say how it was changed on the way."""

    samples: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def read_audio(
    source: Sound, rate: int, *, name: str | None = None, minimum: int = 1, device: torch.device | str = "cpu"
) -> Audio:
    """Decode `source`, average its channels and resample it to `rate` (Hz).

    Args:
        source: a path, the bytes of a file, or a mapping with `bytes` or `path` (the datasets library's undecoded
            audio) or with `array` and `sampling_rate`. A 2-d array may have its channels first or last: the shorter
            axis is taken for the channels. Arrays of int8, int16, int32 and uint8 are scaled by their type's range.
        name: what to call the sample in errors; found from the path when absent.
        minimum: fewest samples, at `rate`, that the model can use: one frame.
        device: where torchaudio resamples.

    Raises:
        DataError: not audio, missing, empty, silent (every amplitude below `SILENCE`), NaN or infinite, too short, or
            whole numbers of which nobody says how many bits one has.
    """
    name = name or _name_of(source)
    samples, own_rate = _decode(source, name)
    whole = _whole_type(source)
    notes = []
    if samples.ndim == 2:
        if samples.shape[1] > 1:
            notes.append(f"{samples.shape[1]} channels averaged")
        samples = samples.mean(axis=1)
    # Before resampling, which would spread a single NaN over the whole sound.
    _check(samples, name, whole)
    if not RATES[0] <= own_rate <= RATES[1]:
        raise DataError(
            f"{name}: {own_rate} samples a second; expected a rate from {RATES[0]} to {RATES[1]} Hz: mend its "
            "header, or leave it out"
        )
    if own_rate != rate:
        samples = resample(samples, own_rate, rate, device)
        notes.append(f"resampled from {own_rate} Hz to {rate} Hz")
    if len(samples) < minimum:
        lasts, needs = (f"{1000 * n / rate:.3g} ms" for n in (len(samples), minimum))
        raise DataError(f"{name}: too short, {lasts} where one frame of the model needs {needs}; leave it out")
    return Audio(np.ascontiguousarray(samples, dtype=np.float32), tuple(notes))


def resample(samples: NDArray[Any], own_rate: int, rate: int, device: torch.device | str = "cpu") -> NDArray[Any]:
    """(t,) samples at another rate: ceil(t rate / own_rate) of them.

    torchaudio's Kaiser-windowed sinc and SciPy's polyphase filter agree to 0.2 % of the loudest amplitude, away from
    the ends, on sound below 0.8 of what the lower rate can carry.
    """
    module = torchaudio().module
    if module is not None:
        return _by_torchaudio(module, samples, own_rate, rate, device)
    from scipy.signal import resample_poly

    common = math.gcd(own_rate, rate)
    return np.asarray(resample_poly(samples, rate // common, own_rate // common))


def _by_torchaudio(
    module: Any, samples: NDArray[Any], own_rate: int, rate: int, device: torch.device | str
) -> NDArray[Any]:
    import torch

    wave = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).to(device)
    found = module.functional.resample(wave, own_rate, rate, resampling_method="sinc_interp_kaiser", **KAISER)
    return found.cpu().numpy()


def _whole_type(source: Sound) -> str | None:
    """The type of an array of whole numbers, which may be wider than the sound in it."""
    array = source.get("array") if isinstance(source, Mapping) else None
    return array.dtype.name if isinstance(array, np.ndarray) and array.dtype.kind == "i" else None


def _check(samples: NDArray[Any], name: str, whole: str | None) -> None:
    if samples.size == 0:
        raise DataError(f"{name}: empty, no audio samples in it; leave it out")
    if not np.isfinite(samples).all():
        raise DataError(f"{name}: has NaN or infinite amplitudes; repair the file or leave it out")
    loudest = float(np.abs(samples).max())
    if loudest < SILENCE:
        todo = "leave it out"
        if whole is not None and loudest > 0:
            todo += f", or give the type that has its width: {whole} goes up to {np.iinfo(whole).max}"
        raise DataError(f"{name}: silent, its largest amplitude is {loudest:.1e} of full scale; {todo}")


def _decode(source: Sound, name: str) -> tuple[NDArray[Any], int]:
    """Samples (t,) or (t, channels) and their rate."""
    if isinstance(source, Mapping):
        if source.get("array") is not None:
            return _from_array(source, name)
        content = source.get("bytes") or source.get("path")
        if content is None:
            found = ", ".join(sorted(source)) or "nothing"
            raise DataError(f"{name}: expected audio as bytes, path, or array with sampling_rate; got {found}")
        return _from_file(content, name)
    if isinstance(source, str | bytes | os.PathLike):
        return _from_file(source, name)
    raise DataError(f"{name}: expected a path, bytes or a mapping of audio; got {type(source).__name__}")


def _from_array(source: Mapping[str, Any], name: str) -> tuple[NDArray[Any], int]:
    rate = source.get("sampling_rate")
    if not isinstance(rate, int | np.integer) or rate <= 0:
        raise DataError(f"{name}: expected sampling_rate, a positive number of Hz, beside the array; got {rate!r}")
    samples = np.asarray(source["array"])
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        got = f"{samples.dtype} {samples.shape}"
        raise DataError(f"{name}: expected an array of (t,) or (t, channels) numbers; got {got}")
    if samples.ndim == 2 and samples.shape[0] < samples.shape[1]:
        samples = samples.T
    if samples.dtype.name == "uint8":  # as WAV files have it
        samples = samples / 128 - 1
    elif samples.dtype.kind == "u" or samples.dtype.name == "int64":
        # Lists of Python's numbers become int64, whatever they were.
        what = f"whole numbers of {samples.dtype}, of which nobody says how many bits a sample has"
        raise DataError(f"{name}: {what}; give int16 or int32, or numbers from -1 to 1")
    elif samples.dtype.kind == "i":
        # By the size of the lowest number: -32768 becomes -1, as soundfile has it.
        samples = samples / -float(np.iinfo(samples.dtype).min)
    return samples, int(rate)


def _from_file(source: str | os.PathLike[str] | bytes, name: str) -> tuple[NDArray[Any], int]:
    import soundfile

    content, path = (source, Path()) if isinstance(source, bytes) else (None, local_path(source))
    if content is None:
        if not is_file(path):
            raise DataError(f"{name}: no such file: {path}; check the path")
        if path.stat().st_size == 0:
            raise DataError(f"{name}: empty file; leave it out")
    elif not content:
        raise DataError(f"{name}: empty, no bytes in it; leave it out")
    try:
        samples, rate = soundfile.read(
            str(path) if content is None else io.BytesIO(content), dtype="float32", always_2d=True
        )
        with path.open("rb") if content is None else io.BytesIO(content) as file:
            damage = damage_of_sound(file)
    except OSError as error:
        raise DataError(f"{name}: {(error.strerror or 'cannot be read').lower()}; check the path") from None
    except (RuntimeError, TypeError, ValueError, MemoryError) as error:  # TypeError: headerless .raw files
        why = str(error).removesuffix(".").split(": ", 1)[-1].splitlines()[0]
        raise DataError(f"{name}: not audio that soundfile can read ({why}); expected WAV, FLAC, Ogg or MP3") from None
    if damage is not None:
        raise DataError(f"{name}: damaged ({damage}); copy it again, or save it anew")
    return samples, int(rate)


def _name_of(source: Any) -> str:
    if isinstance(source, Mapping) and isinstance(source.get("path"), str):
        return str(source["path"])
    return str(source) if isinstance(source, str | os.PathLike) else "audio"
