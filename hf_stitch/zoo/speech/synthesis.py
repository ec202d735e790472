"""Synthetic speech: espeak-ng to mono 16 kHz arrays, and the MP3 codec in which the zoo stores them."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from hf_stitch.errors import ZooError

if TYPE_CHECKING:
    import numpy as np

SAMPLING_RATE = 16_000  # Hz, Wav2Vec2's
KNOWN_VOICES = ("en-us", "en-us+m1", "en-us+m3", "en-us+m7", "en-us+f1", "en-us+f2", "en-us+f3", "en-gb", "en-gb+m4",
                "en-gb+f5")  # fmt: skip
UNSEEN_VOICES = ("en-us+m2", "en-us+f4", "en-gb+m6", "en-gb+f2")
SPEEDS = (165, 225)  # words a minute, around espeak-ng's usual 175; by hand
PITCHES = (35, 65)  # espeak-ng's scale of 0 to 99, around its usual 50; by hand
# libsndfile's scale: 40 kbit/s; one step lower and the codec pads the signal and loses its alignment
MP3_COMPRESSION = 0.8
_WAV_HEADER = 44  # bytes
_SILENCE = 800  # samples kept either side of the speech: 50 ms


class Utterance(NamedTuple):
    """A spoken sentence: mono float32 samples (n,) at 16 kHz, and the voice that spoke it."""

    text: str
    voice: str
    wave: np.ndarray


def require_espeak() -> str:
    """Return the path of espeak-ng, or say what to install."""
    path = shutil.which("espeak-ng")
    if path is None:
        raise ZooError(
            "rebuilding the speech part of the zoo needs the program espeak-ng, which is not on the PATH; install it "
            "(Debian, Ubuntu: `apt-get install espeak-ng`; macOS: `brew install espeak-ng`), or build the other parts"
        )
    return path


def synthesize(text: str, voice: str, speed: int, pitch: int) -> np.ndarray:
    """Speak `text`; return float32 samples (n,) in [-1, 1] at 16 kHz with 50 ms of silence either side."""
    import numpy as np
    from scipy.signal import resample_poly

    command = [require_espeak(), "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    spoken = subprocess.run(command, capture_output=True, check=False)
    if spoken.returncode or len(spoken.stdout) <= _WAV_HEADER:
        reason = spoken.stderr.decode(errors="replace").strip() or f"status {spoken.returncode}, no audio"
        raise ZooError(f"espeak-ng could not speak with voice {voice!r}: {reason}")
    # espeak-ng streams: the sizes in its header are placeholders, the rate is right
    rate = int.from_bytes(spoken.stdout[24:28], "little")
    wave = np.frombuffer(spoken.stdout[_WAV_HEADER:], dtype="<i2").astype(np.float32) / 32768
    wave = resample_poly(wave, SAMPLING_RATE, rate).astype(np.float32)
    loud = np.flatnonzero(np.abs(wave) > 1e-3)
    if not len(loud):
        raise ZooError(f"espeak-ng answered {text!r} with silence; is its voice data installed?")
    return np.clip(wave[max(0, loud[0] - _SILENCE) : loud[-1] + _SILENCE], -1, 1)


def render(
    texts: Sequence[str],
    voices: Sequence[str],
    seed: int,
    speeds: tuple[int, int] = SPEEDS,
    pitches: tuple[int, int] = PITCHES,
    workers: int = 2,
) -> list[Utterance]:
    """Speak every text; voice, speed and pitch depend on (seed, text) alone, not on the order or on the workers."""

    def speak(text: str) -> Utterance:
        chooser = random.Random(f"{seed}|{text}")
        voice = chooser.choice(voices)
        return Utterance(text, voice, synthesize(text, voice, chooser.randint(*speeds), chooser.randint(*pitches)))

    require_espeak()
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(speak, texts))


def encode_mp3(wave: np.ndarray) -> bytes:
    """Return mono samples (n,) at 16 kHz as an MP3 file of about 5 KiB a second; decoding keeps its length."""
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, wave, SAMPLING_RATE, format="MP3", subtype="MPEG_LAYER_III",
                    bitrate_mode="CONSTANT", compression_level=MP3_COMPRESSION)  # fmt: skip
    return buffer.getvalue()


def decode(data: bytes) -> np.ndarray:
    """Return float32 samples (n,) of an encoded file; it must be mono at 16 kHz."""
    import io

    import soundfile

    wave, rate = soundfile.read(io.BytesIO(data), dtype="float32")
    if rate != SAMPLING_RATE or wave.ndim != 1:
        raise ZooError(f"expected mono audio at {SAMPLING_RATE} Hz, got shape {wave.shape} at {rate} Hz")
    return wave
