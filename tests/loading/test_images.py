from __future__ import annotations

import io
import json
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hf_stitch.errors import DataError
from hf_stitch.loading.images import read_picture
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.samples import load_samples
from hf_stitch.recipe.data import Data

GREY = np.linspace(0, 255, 12).astype(np.uint8).reshape(3, 4)
"""Three rows, four columns; both sides differ, so that a turn shows."""
COLOUR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], -1)


def written(picture: Image.Image, kind: str, **more: Any) -> bytes:
    held = io.BytesIO()
    picture.save(held, kind, **more)
    return held.getvalue()


def read(given: Any) -> tuple[np.ndarray, list[str]]:
    notes: list[str] = []
    found = read_picture(given, "one", notes)
    assert found.mode == "RGB"
    return np.asarray(found), notes


SIXTEEN = {
    "png": lambda wide: written(Image.fromarray(wide), "png"),
    "tiff": lambda wide: written(Image.fromarray(wide), "tiff"),
    "big-endian tiff": lambda wide: written(Image.fromarray(wide.astype(">u2")), "tiff"),
    "pgm": lambda wide: b"P5 4 3 65535\n" + wide.astype(">u2").tobytes(),
    "jpeg 2000": lambda wide: written(Image.fromarray(wide), "jpeg2000"),
    "picture": lambda wide: Image.fromarray(wide),
    "array": lambda wide: wide,
    "min-is-white tiff": lambda wide: written(Image.fromarray(65535 - wide), "tiff", tiffinfo={262: 0}),
}


@pytest.mark.parametrize("make", SIXTEEN.values(), ids=SIXTEEN.keys())
def test_sixteen_bits_of_grey_are_scaled_to_eight_and_told(make: Any) -> None:
    found, notes = read(make(GREY.astype(np.uint16) * 257))
    assert np.array_equal(found, np.repeat(GREY[..., None], 3, -1))
    assert notes == ["16 bits of grey scaled to 8"]


def test_the_bits_that_a_tiff_names_are_its_white() -> None:
    """Twelve bits in a file, as microscopes write them: 4095 is white."""
    values = GREY.astype(np.int64) * 4095 // 255
    pairs = values.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    entries = {256: 4, 257: 3, 258: 12, 259: 1, 262: 1, 273: 0, 277: 1, 278: 3, 279: 18}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    ifd = len(entries).to_bytes(2, "little")
    for tag, value in entries.items():
        ifd += tag.to_bytes(2, "little") + (4).to_bytes(2, "little") + b"\1\0\0\0" + value.to_bytes(4, "little")
    found, notes = read(b"II*\0\x08\0\0\0" + ifd + bytes(4) + packed.astype(np.uint8).tobytes())
    assert np.abs(found[..., 0].astype(int) - GREY).max() <= 1
    assert notes == ["12 bits of grey scaled to 8"]


UNKNOWN = {
    "float tiff": (lambda: written(Image.fromarray(GREY.astype(np.float32) / 255), "tiff"), "floating point"),
    "float picture": (lambda: Image.fromarray(GREY.astype(np.float32)), "floating point"),
    "float array": (lambda: GREY / 255, "float64"),
    "32-bit tiff": (lambda: written(Image.fromarray(GREY.astype(np.int32) * 70000), "tiff"), "32 bits"),
    "signed tiff": (lambda: signed_tiff(), "16-bit signed|32 bits"),
    "32-bit picture": (lambda: Image.fromarray(GREY.astype(np.int32)), "32 bits"),
    "dark 16-bit array": (lambda: GREY.astype(np.uint16), "uint16.*nothing above 255"),
    "numbers above 255": (lambda: GREY.astype(np.int64) + 1, "1 to 256"),
    "numbers below 0": (lambda: GREY.astype(np.int64) - 128, "-128 to 127"),
    "channels first": (lambda: np.moveaxis(COLOUR, -1, 0).repeat(2, 2), r"\(3, 3, 8\)"),
    "no pixels": (lambda: GREY[:0], r"\(0, 4\)"),
}


def signed_tiff() -> bytes:
    return written(Image.fromarray(GREY.astype(np.uint16)), "tiff", tiffinfo={339: 2})


@pytest.mark.parametrize(("make", "message"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_values_whose_white_nobody_names_are_refused_with_what_to_do(make: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^one: .*({message}).*; (give|save|convert)"):
        read(make())


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_as_their_exif_entry_says(orientation: int, kind: str) -> None:
    turn = [None, 0, 3, 1, 5, 2, 6, 4][orientation - 1]  # Pillow's number of the turn that each entry undoes
    upright = Image.fromarray(np.kron(COLOUR, np.ones((16, 16, 1), np.uint8)))
    stored = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "webp" else {"quality": 100, "subsampling": 0} if kind == "jpeg" else {}
    found, notes = read(written(stored, kind, exif=exif, **lossless))
    assert found.shape == (48, 64, 3)
    assert np.abs(found.astype(int) - np.asarray(upright)).mean() < 2
    assert notes == []


def test_a_damaged_exif_part_leaves_the_picture() -> None:
    found, _ = read(written(Image.fromarray(COLOUR), "png", exif=b"Exif\0\0XX\0*garbage"))
    assert np.array_equal(found, COLOUR)


def palette() -> Image.Image:
    return Image.fromarray(COLOUR).quantize(12)


SAME = {
    "rgb": (lambda: written(Image.fromarray(COLOUR), "png"), COLOUR),
    "grey": (lambda: written(Image.fromarray(GREY), "png"), np.repeat(GREY[..., None], 3, -1)),
    "black and white": (
        lambda: written(Image.fromarray(GREY > 99), "png"), np.where(GREY > 99, 255, 0)[..., None].repeat(3, -1)
    ),
    "palette": (lambda: written(palette(), "png"), np.asarray(palette().convert("RGB"))),
    "gif": (lambda: written(palette(), "gif"), np.asarray(palette().convert("RGB"))),
    "opaque alpha": (lambda: written(Image.fromarray(COLOUR).convert("RGBA"), "png"), COLOUR),
    "grey as three axes": (lambda: GREY[..., None], np.repeat(GREY[..., None], 3, -1)),
    "whole numbers": (lambda: COLOUR.astype(np.int64), COLOUR),
    "16 bits a colour": (lambda: ppm(COLOUR.astype(np.uint16) * 257), COLOUR),
    "the Hub's mapping": (lambda: {"bytes": written(Image.fromarray(COLOUR), "png"), "path": None}, COLOUR),
}  # fmt: skip


def ppm(wide: np.ndarray) -> bytes:
    return b"P6 4 3 65535\n" + wide.astype(">u2").tobytes()


@pytest.mark.parametrize(("make", "values"), SAME.values(), ids=SAME.keys())
def test_pictures_of_eight_bits_are_what_they_were(make: Any, values: np.ndarray) -> None:
    found, notes = read(make())
    assert np.array_equal(found, values)
    assert notes == []


def seen_through(kind: str) -> Any:
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[0] = 0
    picture = Image.fromarray(np.dstack([np.zeros_like(COLOUR), alpha]))
    if kind == "grey and alpha":
        return written(picture.convert("LA"), "png")
    if kind == "palette and one clear entry":
        flat = Image.fromarray((alpha > 0).astype(np.uint8), "P")
        flat.putpalette([9, 9, 9, 0, 0, 0])
        return written(flat, "png", transparency=0)
    if kind == "one clear colour":
        flat = np.where(alpha[..., None] > 0, 0, [[[9, 9, 9]]]).astype(np.uint8)
        return written(Image.fromarray(flat), "png", transparency=(9, 9, 9))
    if kind == "array":
        return np.asarray(picture)
    return written(picture, kind, **({"lossless": True} if kind == "webp" else {}))


@pytest.mark.parametrize(
    "kind",
    ["png", "webp", "tiff", "array", "grey and alpha", "palette and one clear entry", "one clear colour"],
)
def test_clear_parts_are_white_whatever_lies_beneath_them(kind: str) -> None:
    """Black on nothing, as logos and drawings are: with what lies beneath it, the whole would be black."""
    found, notes = read(seen_through(kind))
    assert (found[0] == 255).all()
    assert (found[1:] == 0).all()
    assert notes == ["has clear parts, which are taken as white"]


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_the_first_picture_of_several_is_taken_and_told(kind: str) -> None:
    first, *more = [Image.fromarray(np.full((3, 4, 3), value, np.uint8)) for value in (10, 90, 200)]
    found, notes = read(written(first, kind, save_all=True, append_images=more, duration=50, lossless=True))
    assert np.abs(found.astype(int) - 10).max() <= 1
    assert notes == ["picture 1 of 3 taken"]


def test_the_picture_at_which_a_reader_stands_is_taken() -> None:
    frames = [Image.fromarray(np.full((3, 4), value, np.uint8)) for value in (10, 90, 200)]
    opened = Image.open(io.BytesIO(written(frames[0], "gif", save_all=True, append_images=frames[1:])))
    opened.seek(1)
    found, notes = read(opened)
    assert (found == 90).all()
    assert notes == ["picture 2 of 3 taken"]


def test_what_is_no_picture_is_refused_by_name(tmp_path: Path) -> None:
    whole = written(Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)), "png")
    (tmp_path / "text.png").write_text("no picture")
    for given in (whole[:999], b"", b"text", tmp_path / "text.png", tmp_path / "none.png", tmp_path / ("x" * 999), 3):
        with pytest.raises(DataError, match=r"^one: .*; "):
            read(given)
    for cut in range(0, len(whole), 997):
        spoilt = whole[:cut] + bytes([whole[cut] ^ 255]) + whole[cut + 1 :]
        with suppress(DataError):  # a byte of the header spoils it, one of a colour does not
            read(spoilt)


def test_a_picture_of_more_pixels_than_can_be_read_is_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bomb = written(Image.new("1", (20000, 20000)), "png")
    with pytest.raises(DataError, match=r"^one: .*pixels.*; make it smaller"):
        read(bomb)


def test_what_was_done_to_pictures_is_told_of_samples(tmp_path: Path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "wide.png")
    Image.fromarray(COLOUR).save(tmp_path / "plain.png")
    rows = [{"image": "wide.png"}, {"image": "plain.png"}, {"image": "wide.png"}]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = Data.model_validate({"dataset": str(tmp_path / "rows.jsonl"), "columns": {"source": "image"}})
    pictures = Preparer("image", "pixel_values")
    samples = load_samples(asked, pictures, pictures, "fit")
    assert [np.asarray(samples.source(i)).shape for i in range(3)] == [(3, 4, 3)] * 3
    assert samples.decoding == ["fit: 2 samples 16 bits of grey scaled to 8"]
