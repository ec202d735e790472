"""Files of sound that their decoder reads in part, or otherwise, without a word: cut ones, and bad checksums."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib
from typing import BinaryIO

import numpy as np

CHUNKS = {b"RIFF": ("<", b"data"), b"RIFX": (">", b"data"), b"FORM": (">", b"SSND")}
"""Of files in chunks (WAV, AIFF): how numbers are written, and the chunk with the sound."""
UNKNOWN = 0x7FFFFF00
"""From here on a size is what writers put there that do not know it, as into a pipe."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def damage_of_sound(file: BinaryIO) -> str | None:
    """What is wrong with a file of sound that can be told without trusting its decoder; None where nothing is."""
    head = file.read(42)
    if head[:4] in CHUNKS:
        return _of_chunks(file, *CHUNKS[head[:4]])
    if head[:4] == b".snd" and len(head) >= 12:
        return _of_size(int.from_bytes(head[8:12], "big"), file.seek(0, io.SEEK_END) - int.from_bytes(head[4:8], "big"))
    file.seek(0)
    if head[:4] == b"OggS":
        return _of_ogg(file.read())
    return _of_flac(file, head) if head[:4] == b"fLaC" and len(head) == 42 else None


def _of_chunks(file: BinaryIO, order: str, sound: bytes) -> str | None:
    end = file.seek(0, io.SEEK_END)
    place = 12
    while place + 8 <= end:
        file.seek(place)
        name, size = struct.unpack(f"{order}4sI", file.read(8))
        if name == sound:
            return _of_size(size, end - place - 8)
        place += 8 + size + size % 2
    return None


def _of_size(told: int, held: int) -> str | None:
    cut = told < UNKNOWN and told > held
    return f"its header speaks of {told} bytes of sound, the file holds {held}" if cut else None


def _of_ogg(content: bytes) -> str | None:
    """Decoders skip a page with a bad checksum."""
    place, flags = 0, 0
    while place < len(content):
        page = content[place : place + 27]
        if len(page) < 27 or page[:4] != b"OggS":
            return f"no page begins at byte {place}"
        lengths = content[place + 27 : place + 27 + page[26]]
        until, flags = place + 27 + page[26] + sum(lengths), page[5]
        if until > len(content):
            return f"the page at byte {place} is cut"
        if _ogg_checksum(content[place : place + 22] + bytes(4) + content[place + 26 : until]) != page[22:26]:
            return f"the page at byte {place} has another checksum"
        place = until
    return None if flags & 4 else "its last page is missing"


def _ogg_checksum(page: bytes) -> bytes:
    """zlib's polynomial with the bits in the other order, and without its inversions."""
    mirrored = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return mirrored.to_bytes(4, "big").translate(_REVERSED)


FLAC_RATES = dict(zip(range(1, 12), (88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)))
"""By the code that a frame has; of the other codes nothing is said here."""


def _rate_of_frame(file: BinaryIO) -> int | None:
    """The rate that the first frame of a FLAC has, which has a checksum of its own."""
    file.seek(4)
    last = False
    while not last and len(block := file.read(4)) == 4:
        last = bool(block[0] & 0x80)
        file.seek(int.from_bytes(block[1:], "big"), io.SEEK_CUR)
    frame = file.read(3)
    return FLAC_RATES.get(frame[2] & 15) if len(frame) == 3 and frame[0] == 0xFF and frame[1] >> 2 == 0x3E else None


def _of_flac(file: BinaryIO, head: bytes) -> str | None:
    """FLAC keeps the MD5 of the sound, which its decoder does not look at."""
    import soundfile

    rate = int.from_bytes(head[18:21], "big") >> 4
    if (other := _rate_of_frame(file)) is not None and other != rate:
        return f"its header speaks of {rate} Hz, its first frame of {other} Hz"
    file.seek(0)
    bits, told = ((head[20] & 1) << 4 | head[21] >> 4) + 1, head[26:42]
    if bits not in (8, 16, 24) or not any(told):
        return None
    try:
        samples, _ = soundfile.read(file, dtype="int32", always_2d=True)
    except (RuntimeError, ValueError, MemoryError):  # reading it as numbers says what is wrong
        return None
    plain = np.ascontiguousarray(samples.astype("<i4")).view(np.uint8).reshape(-1, 4)
    found = hashlib.md5(plain[:, 4 - bits // 8 :].tobytes(), usedforsecurity=False).digest()
    return None if found == told else "the sound has another checksum than the file says"
