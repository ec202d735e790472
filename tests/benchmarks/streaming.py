"""Peak memory of fits whose activations stay on disk, at few rows and at ten times as many; each in its own process.

`affine` and `orthogonal` read rows of 768 features for targets of 64 from parts of 4,096 rows in bfloat16. All parts
are hard links of one file, so that billions of numbers take no room on the disk: what is held of them counts, not what
they are. `--size 1000000` and `--size 10000000 --limit 4000` give the other rows, the latter in half an hour.

`fit` is the whole of it: tiny BERTs with random weights, sentences of 4 to 12 words, `length: spans`, trust and test.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hf_stitch.activations.stored_sequences import StoredSequences
from hf_stitch.activations.windows import single_steps
from hf_stitch.runtime.environment import peak_memory
from hf_stitch.runtime.part_store import PartStore
from hf_stitch.stitching.layers.fit_layer import fit_layer
from hf_stitch.stitching.lengths.rule import Pairs
from hf_stitch.stitching.paired_rows import PairedRows
from hf_stitch.stitching.pairing import Pairing, SamplePairs

from .clock import Row, in_own_process, told

WIDTHS = (768, 64)  # of source and target
SAMPLES, STEPS = 16, 256  # of a part
METHODS = ("affine", "orthogonal")
WORDS = tuple(f"w{i}" for i in range(300))
TEST = 200  # sentences


def rows(size: int | None = None) -> Iterator[Row]:
    """One row a method and number of rows, and one a number of sentences; a size alone is of methods."""
    for method in METHODS:
        for n in (100_000,) if size is None else (size,):
            found = in_own_process("streaming", method, n)
            size_told = f"n {found['rows']}, m {WIDTHS[0]}, m' {WIDTHS[1]}"
            yield {"what": f"{method} map of rows on disk: peak memory", "size": size_told, **found}
    for n in (2_000, 20_000) if size is None else ():
        found = in_own_process("streaming", "fit", n)
        yield {"what": "whole fit through tiny BERTs: peak memory", "size": f"{n} sentences", **found}


def one(what: str, n: int) -> Row:
    """Seconds and peak of the resident size of this process, libraries included, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return _fit(n, Path(folder)) if what == "fit" else _map(what, n, Path(folder))


def _map(method: str, n: int, folder: Path) -> Row:
    source, target = stored_rows(n, folder)
    before, begin = peak_memory(), time.perf_counter()
    fit_layer(method, source, target)
    took = time.perf_counter() - begin
    return {"ours": took, "memory": peak_memory(), "before": before, "rows": len(source)}


def stored_rows(n: int, folder: Path) -> tuple[PairedRows, PairedRows]:
    """Both sides of at least n rows, as many as whole parts hold."""
    count = -(-n // (SAMPLES * STEPS))
    store, names = PartStore(folder), [f"part-{k:06d}" for k in range(count)]
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(SAMPLES * STEPS, WIDTHS[0], generator=draw)
    y = torch.tanh(x @ torch.randn(*WIDTHS, generator=draw) / WIDTHS[0] ** 0.5)
    store.write(names[0], {"source.values": x.bfloat16(), "target.values": y.bfloat16()})
    for name in names[1:]:
        os.link(store.path(names[0]), store.path(name))
    parts = [range(SAMPLES * k, SAMPLES * (k + 1)) for k in range(count)]
    lengths = torch.full((SAMPLES * count,), STEPS)
    steps = single_steps(STEPS)[:, None]
    pairs = SamplePairs(lambda i: Pairs(steps, steps, np.arange(STEPS)), len(lengths))
    pairing = Pairing(pairs, lengths, 0)
    sides = [
        StoredSequences(store, names, f"{role}.values", parts, lengths, (width,), torch.float32)
        for role, width in zip(("source", "target"), WIDTHS)
    ]
    return PairedRows(sides[0], pairing, 0, None), PairedRows(sides[1], pairing, 1, None)


def _fit(n: int, folder: Path) -> Row:
    from hf_stitch import fit

    os.environ["HF_STITCH_CACHE"] = str(folder / "cache")
    asked = recipe(n, folder)
    before, begin = peak_memory(), time.perf_counter()
    _, report = fit(asked, progress=False)
    took = time.perf_counter() - begin
    paired = (report.diagnostics.fits or {})["affine"]["rows"]
    return {"ours": took, "memory": peak_memory(), "before": before, "rows": paired}


def recipe(sentences: int, folder: Path) -> dict[str, Any]:
    """A fit of so many sentences through two tiny BERTs that it saves beside its data."""
    draw = random.Random(0)
    for name, count in (("fit", sentences), ("test", TEST)):
        texts = (" ".join(draw.choices(WORDS, k=draw.randint(4, 12))) for _ in range(count))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for name in ("source", "target"):
        _save(folder / name, seed=len(name))
    side = {"source": "bert.encoder.layer.0", "target": "bert.encoder.layer.0"}
    data = {name: {"dataset": str(folder / f"{name}.jsonl"), "columns": {"source": "text"}} for name in ("fit", "test")}
    sides = {name: {"model": str(folder / name), "hook": hook} for name, hook in side.items()}
    return {"name": "streaming", **sides, "data": data, "sequence": {"length": "spans"}, "compare": ["orthogonal"]}


def _save(folder: Path, seed: int) -> None:
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from tokenizers.models import WordLevel
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "<s>", "</s>", *WORDS]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(word, words.index(word)) for word in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    own = {"unk_token": "<unk>", "pad_token": "<pad>", "sep_token": "</s>", "cls_token": "<s>", "model_max_length": 64}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **own).save_pretrained(folder)
    torch.manual_seed(seed)
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=64, pad_token_id=0, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
    else:
        told(rows)
