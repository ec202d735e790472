"""Rebuild the zoo from its seeds: `hf-stitch zoo build`."""

from __future__ import annotations

import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hf_stitch.errors import ZooError, nearest
from hf_stitch.recipe.names import without_zoo
from hf_stitch.zoo import cards
from hf_stitch.zoo.catalogue import RENDERED, ROOT, data_names, model_names
from hf_stitch.zoo.speech.grammar import Sentence, splits
from hf_stitch.zoo.speech.synthesis import require_espeak
from hf_stitch.zoo.training_loop import Progress, quiet, write_record

COMMAND = "hf-stitch zoo build"
SPEAKING = {"opinions", "wav2vec2-speech"}


def build(
    out: Path | None = None, only: Sequence[str] = (), progress: Callable[[str], None] = lambda message: None
) -> None:
    """Make data sets and models anew: all, or those named in `only`; in `out`, or in the package itself.

    Each part is finished in a folder of its own before it takes the place of the former one. On one machine the same
    versions give the same bytes of weights; elsewhere the figures may differ in the last digits.
    """
    chosen = _chosen(only)
    if SPEAKING.intersection(chosen):
        require_espeak()
    root = ROOT if out is None else Path(out)
    with quiet():
        sentences = splits()
        for name in chosen:
            started = time.perf_counter()
            _build_part(name, root, sentences, partial(_report, progress, name))
            progress(f"{name}: done in {time.perf_counter() - started:.0f} s")


def _report(progress: Progress, name: str, message: str) -> None:
    progress(f"{name}: {message}")


def _chosen(only: Sequence[str]) -> list[str]:
    """Return the parts to build in order: data before the models that are measured on them."""
    known = [name for name in data_names() if name not in RENDERED] + model_names()
    wanted = [without_zoo(name) for name in only] or known
    for name in wanted:
        if name not in known:
            raise ZooError(f"the zoo has no part {name!r}: {nearest(name, known, limit=len(known))}")
    return [name for name in known if name in wanted]


def _build_part(name: str, root: Path, sentences: dict[str, list[Sentence]], progress: Progress) -> None:
    kind = "data" if name in data_names() else "models"
    target = root / kind / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        folder = Path(scratch) / name
        (_make_data if kind == "data" else _make_model)(name, folder, root, sentences, progress)
        for file in folder.iterdir():
            file.chmod(0o644)  # weights are saved readable by their owner only
        if target.exists():
            shutil.rmtree(target)
        folder.rename(target)


def _make_data(name: str, folder: Path, root: Path, sentences: dict[str, list[Sentence]], progress: Progress) -> None:
    from hf_stitch.zoo.functions import paper, parabola
    from hf_stitch.zoo.speech import packing

    if name == "opinions":
        packing.write_opinions(sentences, folder, progress)
    elif name == "sentences":
        packing.write_sentences(sentences, folder)
    elif name == "parabola":
        parabola.write_data(folder)
    else:
        paper.write_data(name, folder)


def _make_model(name: str, folder: Path, root: Path, sentences: dict[str, list[Sentence]], progress: Progress) -> None:
    """Train one model into `folder`, measure it, and write its record and card."""
    started = time.perf_counter()
    seed, training = _train(name, folder, sentences, progress)
    seconds = time.perf_counter() - started
    record = {
        "name": name, "command": f"{COMMAND} {name}", "seed": seed, "training": training, "seconds": seconds,
        "figures": _figures(name, folder, root, sentences), "versions": _versions(name),
    }  # fmt: skip
    write_record(folder, record)
    cards.write_card(folder)


def _train(
    name: str, folder: Path, sentences: dict[str, list[Sentence]], progress: Progress
) -> tuple[int, dict[str, float]]:
    """Train `name` and return its seed and what was done."""
    from hf_stitch.zoo.cameras import cameras
    from hf_stitch.zoo.functions import paper, parabola
    from hf_stitch.zoo.speech import classifiers, recognizer, translator

    if name in cameras.SEEDS:
        return cameras.SEEDS[name], cameras.train_network(name, folder, progress)
    if name == "wav2vec2-speech":
        texts = [sentence.text for sentence in sentences["train"]]
        return recognizer.SEED, recognizer.train_recognizer(texts, folder, progress)
    if name in classifiers.COURSES:
        course = classifiers.COURSES[name]
        return course.seed, classifiers.train_classifier(course, sentences["train"], folder, progress)
    if name == translator.NAME:
        return translator.SEED, translator.train_translator(sentences["train"], folder, progress)
    if name in paper.network_names():
        return paper.course(name).seed, paper.train_network(name, folder, progress)
    return parabola.seed_of(name), parabola.train_network(name, folder, progress)


def _figures(name: str, folder: Path, root: Path, sentences: dict[str, list[Sentence]]) -> dict[str, float]:
    """Measure a finished model on the data beside it, or else on the shipped data where that is present."""
    from hf_stitch.zoo.cameras import cameras
    from hf_stitch.zoo.functions import paper, parabola
    from hf_stitch.zoo.speech import figures, translator

    if name in cameras.SEEDS:
        return cameras.network_figures(name, folder)
    opinions = _present(root, "data/opinions")
    if name == "wav2vec2-speech":
        return figures.recognizer_figures(folder, opinions) if opinions else {}
    if name.startswith("parabola"):
        return parabola.parabola_figures(folder)
    if name in paper.network_names():
        return paper.network_figures(name, folder)
    listener = _present(root, "models/wav2vec2-speech")
    if name == translator.NAME:
        return figures.translator_figures(folder, sentences["sentences/test"], opinions, listener)
    return figures.classifier_figures(folder, sentences["sentences/test"], opinions, listener)


def _present(root: Path, path: str) -> Path | None:
    return next((base / path for base in (root, ROOT) if (base / path).is_dir()), None)


def _versions(name: str) -> dict[str, str]:
    found: dict[str, Any] = {"python": platform.python_version()}
    found |= {package: version(package) for package in ("torch", "transformers")}
    if name in SPEAKING:
        spoken = subprocess.run([require_espeak(), "--version"], capture_output=True, text=True, check=False).stdout
        found["espeak-ng"] = spoken.split("text-to-speech:")[-1].split()[0] if spoken.split() else "unknown"
    return found
