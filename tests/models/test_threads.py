"""One loaded model answers from many threads at once, each with the answers that it gives alone."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tf
from composites import whole
from saved_models import inputs_of, load
from stitches import ears, end, preparer, saved, words
from tiny_models import hooks_of, tiny
from torch import Tensor

import hf_stitch
from hf_stitch.hooks.capture import capture, observe, replaced
from hf_stitch.hooks.probe_inputs import make_inputs_for
from hf_stitch.hooks.trace import probe
from hf_stitch.models.predictor import Predictor
from hf_stitch.runtime.tensor_digest import digest_of_tensors

CALLS = 24  # of all threads together: by hand, enough that most of these tests fail where hooks fire in any thread
SOUNDS = [torch.randn(n, generator=torch.Generator().manual_seed(n)).numpy() for n in (420, 300, 230, 510)]
# of several lengths, so that what one thread has set in a tokenizer is wrong for another
TEXTS = ["w4 w5 w6 w7 w8 w9", "w10 w11", " ".join(f"w{4 + i % 50}" for i in range(45)), "w12 w13 w14"]
SETTINGS = {"num_beams": 1, "max_new_tokens": 4}
hf_stitch.register()
many = pytest.mark.parametrize("threads", [2, 8])


def writer(kind: str) -> Any:
    target = whole(kind)
    target.generation_config.update(forced_eos_token_id=None, suppress_tokens=[0, 1, 2, 3])
    return target


def a_hearer(folder: Path) -> Path:
    target = tiny("roberta", id2label={0: "calm", 1: "cross"})
    return saved(folder, ears(), end(target, "roberta.encoder.layer.1", preparer(target)))


def a_reader(folder: Path) -> Path:
    """Words onto words, by spans of two tokenizers."""
    source, target = tiny("roberta"), tiny("distilbert", id2label={0: "calm", 1: "cross"})
    here = end(source, "roberta.encoder.layer.1", preparer(source, words()))
    return saved(
        folder, here, end(target, "distilbert.transformer.layer.0", preparer(target, words())), {"length": "spans"}
    )


def a_writer(folder: Path) -> Path:
    target = writer("bart")
    return saved(folder, ears(), end(target, "model.encoder.layers.1", preparer(target, words())), scale=10)


def a_teller(folder: Path) -> Path:
    """Words onto the token embedding of a GPT-2, which then stays whole."""
    source, target = tiny("roberta"), writer("gpt2")
    target.config.pad_token_id = 1
    here = end(source, "roberta.encoder.layer.1", preparer(source))
    return saved(folder, here, end(target, "transformer.wte", preparer(target)), scale=4)


def a_sharer(folder: Path) -> Path:
    """From one call of ALBERT's shared layer into another one."""
    shared = "albert.encoder.albert_layer_groups.0.albert_layers.0"
    first, second = tiny("albert"), tiny("albert")
    return saved(
        folder, end(first, f"{shared}#0", preparer(first)), end(second, f"{shared}#1", preparer(second)), {"ratio": 1.0}
    )


MADE: dict[str, Callable[[Path], Path]] = {
    "hearer": a_hearer, "reader": a_reader, "writer": a_writer, "teller": a_teller, "sharer": a_sharer,
}  # fmt: skip
WRITE = ("writer", "teller")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("threads")
    return {name: make(base / name) for name, make in MADE.items()}


@pytest.fixture
def often() -> Iterator[None]:
    """Threads take turns after a few lines."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def same_in_threads(threads: int, answer: Callable[[int], Any], inputs: int = 4, calls: int = CALLS) -> None:
    """Whether each of many calls at once answers as alone."""
    alone = [answer(i) for i in range(inputs)]
    start = threading.Barrier(threads)

    def work(number: int) -> list[bool]:
        start.wait()
        return [equal(answer((number + i) % inputs), alone[(number + i) % inputs]) for i in range(calls // threads)]

    with ThreadPoolExecutor(threads) as pool:
        found = [right for each in pool.map(work, range(threads)) for right in each]
    assert found == [True] * (calls // threads * threads)


def equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def raws(name: str) -> list[Any]:
    return SOUNDS if name in ("hearer", "writer") else TEXTS


@many
@pytest.mark.parametrize("name", MADE)
def test_forward_in_threads(name: str, threads: int, folders: dict[str, Path]) -> None:
    model = load(folders[name])
    batches = [inputs_of(folders[name], [raw]) for raw in raws(name)]
    more = {"decoder_input_ids": torch.full((1, 3), 7)} if name == "writer" else {}

    def answer(i: int) -> Tensor:
        with torch.no_grad():
            return model(**batches[i], **more).logits

    same_in_threads(threads, answer)
    assert all(torch.equal(batches[0][key], value) for key, value in inputs_of(folders[name], [raws(name)[0]]).items())


@many
@pytest.mark.parametrize("name", WRITE)
def test_generate_in_threads(name: str, threads: int, folders: dict[str, Path]) -> None:
    model = load(folders[name])
    batches = [inputs_of(folders[name], [raw]) for raw in raws(name)]
    same_in_threads(threads, lambda i: model.generate(**batches[i], **SETTINGS))


@many
@pytest.mark.parametrize("name", [name for name in MADE if name not in WRITE])
def test_predict_in_threads(name: str, threads: int, folders: dict[str, Path], tmp_path: Path) -> None:
    import soundfile

    predictor = Predictor(folders[name], device="cpu")
    inputs: list[Any] = list(TEXTS)
    if predictor.modality == "audio":
        inputs = [tmp_path / f"{i}.wav" for i in range(len(SOUNDS))]
        for file, sound in zip(inputs, SOUNDS):
            soundfile.write(file, sound / 10, 16_000)
    same_in_threads(threads, lambda i: list(predictor([inputs[i]])))


@many
@pytest.mark.parametrize("name", MADE)
def test_pipelines_in_threads(name: str, threads: int, folders: dict[str, Path]) -> None:
    task, more = ("stitched-text", SETTINGS) if name in WRITE else ("stitched-classification", {})
    pipe = tf.pipeline(task, model=str(folders[name]), device="cpu")
    same_in_threads(threads, lambda i: pipe(raws(name)[i], **more))


@many
def test_tokenizers_in_threads(threads: int, often: None) -> None:
    """A call that cuts and pads beside one that does not."""
    source = tiny("roberta")
    prepares = replace(preparer(source, words()), max_length=12, target_tokenizer=words("v"))

    def answer(i: int) -> Any:
        made = prepares.batch([TEXTS[i], TEXTS[2]])
        return prepares.cut(TEXTS[i]), {key: value.tolist() for key, value in made.items()}

    same_in_threads(threads, answer, calls=400)


@many
@pytest.mark.parametrize(
    ("family", "module"),
    [("bert", "bert.encoder.layer.1"), ("gpt2", "transformer.h.0"), ("vit", "vit.layers.1"), ("llama", "model.norm")],
)
def test_a_whole_model_is_read_and_overwritten_in_threads(family: str, module: str, threads: int) -> None:
    model = tiny(family)
    make = make_inputs_for(model)
    point = probe(model, module, make)
    batches = [make(2, length) for length in (5, 6, 8, 9)]

    @torch.no_grad()
    def answer(i: int) -> Tensor:
        [read], plain = capture(model, [point], batches[i]), model(**batches[i]).logits
        [seen], whole = observe(model, [point], batches[i])
        with replaced(model, point, -read):
            other = model(**batches[i]).logits
        return torch.cat([part.flatten() for part in (read, plain, seen, whole.logits, other)])

    same_in_threads(threads, answer)
    assert hooks_of(model) == 0


WHOLE = 600  # of a server's day in small: by hand


@many
def test_a_server_of_several_models(threads: int, folders: dict[str, Path], tmp_path: Path, often: None) -> None:
    """Every way to ask each of them at once, by the forward, `generate`, `predict` and pipelines; all answers right."""
    ways: list[Callable[[int], Any]] = []
    for name, folder in folders.items():
        model, batches = load(folder), [inputs_of(folder, [raw]) for raw in raws(name)]
        if name in WRITE:
            ways.append(lambda i, m=model, b=batches: m.generate(**b[i], **SETTINGS))  # type: ignore[misc]
        else:
            ways.append(lambda i, m=model, b=batches: m(**b[i]).logits.detach())  # type: ignore[misc]
        if name not in WRITE and raws(name) is TEXTS:
            predictor = Predictor(folder, device="cpu")
            ways.append(lambda i, p=predictor: list(p([TEXTS[i]])))  # type: ignore[misc]
            pipe = tf.pipeline("text-classification", model=str(folder), device="cpu", top_k=None)
            # Without truncation, as transformers' own pipeline reads: 45 words are more than the model takes.
            ways.append(lambda i, p=pipe: p(TEXTS[i % 2]))  # type: ignore[misc]
        if name not in WRITE and raws(name) is SOUNDS:
            heard = tf.pipeline("audio-classification", model=str(folder), device="cpu")
            ways.append(lambda i, p=heard: p(SOUNDS[i]))  # type: ignore[misc]
    same_in_threads(threads, lambda i: ways[i % len(ways)](i % 4), inputs=4 * len(ways), calls=WHOLE)


@many
def test_models_are_loaded_in_threads(threads: int, folders: dict[str, Path], often: None) -> None:
    """transformers exchanges functions of its own and of torch while it loads; all are back afterwards."""
    kept = exchanged()
    names = sorted(MADE)
    same_in_threads(threads, lambda i: digest_of_tensors(load(folders[names[i]]).state_dict()), len(names), 2 * threads)
    assert exchanged() == kept


def exchanged() -> list[Any]:
    """What loading exchanges for a while."""
    own = [tf.PreTrainedModel.__dict__[name] for name in ("tie_weights", "init_weights")]
    return [*own, *[getattr(torch.nn.init, name) for name in dir(torch.nn.init)], torch.get_default_dtype()]
