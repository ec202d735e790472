"""Two GPT-2s of other seeds, trained apart for minutes on the language reference of Python, and the first layers of the
one on the last of the other: `PYTHONPATH=.:tests/helpers python tests/helpers/two_seeds.py FOLDER [SECONDS]`

Topics are shared out: 80 % train the models, 10 % fit the maps, 10 % test. Prints the report's table and verdict.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import torch
import transformers as tf
from tokenizers import ByteLevelBPETokenizer

from hf_stitch.experiments.fit import fit

TOKENS, LENGTH, BATCH = 512, 32, 32
SIZES = {"n_embd": 96, "n_layer": 4, "n_head": 4, "n_positions": 256}


def paragraphs(part: int) -> list[str]:
    """Paragraphs of every tenth topic, or of all topics but two in ten for part -1."""
    names = sorted(topics)
    mine = [name for i, name in enumerate(names) if (i % 10 == part if part >= 0 else i % 10 not in (0, 5))]
    found = [" ".join(one.split()) for name in mine for one in topics[name].split("\n\n")]
    return [one[:250] for one in found if len(one) > 60]


def tokenizer(folder: Path) -> Any:
    made = ByteLevelBPETokenizer()
    made.train_from_iterator(paragraphs(-1), vocab_size=TOKENS, special_tokens=["<|endoftext|>"])
    return tf.PreTrainedTokenizerFast(
        tokenizer_object=made._tokenizer, bos_token="<|endoftext|>", eos_token="<|endoftext|>",
        pad_token="<|endoftext|>", model_max_length=SIZES["n_positions"],
    )  # fmt: skip


def trained(folder: Path, tools: Any, seed: int, seconds: float) -> Path:
    """A GPT-2 that was trained for so many seconds; saved."""
    torch.manual_seed(seed)
    ids = torch.tensor([i for text in paragraphs(-1) for i in [*tools(text)["input_ids"], tools.eos_token_id]])
    config = tf.GPT2Config(vocab_size=len(tools), **SIZES, bos_token_id=0, eos_token_id=0)
    model = tf.GPT2LMHeadModel(config).train()
    optimizer, start, step = torch.optim.AdamW(model.parameters(), lr=2e-3), time.perf_counter(), 0
    draw = np.random.default_rng(seed)
    while (done := (time.perf_counter() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1 - done)
        places = torch.from_numpy(draw.integers(0, len(ids) - LENGTH, BATCH))
        batch = ids[places[:, None] + torch.arange(LENGTH)]
        optimizer.zero_grad(set_to_none=True)
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        optimizer.step()
        step += 1
    print(f"seed {seed}: {step} steps of {BATCH} x {LENGTH} tokens of {len(ids)}, last loss {float(loss.detach()):.2f}")
    model.eval().save_pretrained(folder)
    tools.save_pretrained(folder)
    return folder


def data(folder: Path, name: str, part: int) -> dict[str, Any]:
    path = folder / f"{name}.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in paragraphs(part)[:400]))
    return {"dataset": str(path), "columns": {"source": "text"}}


def main(folder: Path, seconds: float = 170.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    tools = tokenizer(folder)
    ends = [trained(folder / str(seed), tools, seed, seconds) for seed in (1, 2)]
    hook = "transformer.h.1"
    recipe = {
        "source": {"model": str(ends[0]), "hook": hook}, "target": {"model": str(ends[1]), "hook": hook},
        "data": {"fit": data(folder, "fit", 0), "test": data(folder, "test", 5)},
        "compare": ["orthogonal", "low_rank"],
    }  # fmt: skip
    _, report = fit(recipe, folder / "stitched", device="cpu", progress=False)
    print(report.table())
    print(report.verdict.text, report.verdict.next, *report.notes, sep="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(float(word) for word in sys.argv[2:]))
