"""A sentiment classifier made of genuine MiniLM-L6, in minutes: `python tests/helpers/genuine_classifier.py FOLDER`.

FOLDER is what `genuine.py` made. The upper three of six blocks and a head are tuned on `tune.jsonl`, which no stitch
sees; FOLDER/sentiment is the classifier, and FOLDER/NAME.labelled.jsonl hold the rows that have a label.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertForSequenceClassification, get_linear_schedule_with_warmup

NAMES = ["negative", "positive"]
EPOCHS, BATCH, WORDS, ROWS = 2, 32, 16, 3200


def main(folder: Path) -> None:
    torch.manual_seed(0)
    rows = {name: labelled(folder, name) for name in ("tune", "fit", "validation", "test")}
    tokenizer = AutoTokenizer.from_pretrained(folder / "minilm")
    model: Any = BertForSequenceClassification.from_pretrained(
        folder / "minilm", num_labels=2, id2label=dict(enumerate(NAMES)), label2id={n: i for i, n in enumerate(NAMES)}
    )
    for part in (model.bert.embeddings, *model.bert.encoder.layer[:3]):
        part.requires_grad_(False)
    train(model, tokenizer, [row for row in rows["tune"] if len(row["text"].split()) <= WORDS][:ROWS])
    print(f"accuracy on {len(rows['test'])} sentences: {accuracy(model, tokenizer, rows['test']):.3f}")
    model.save_pretrained(folder / "sentiment")
    tokenizer.save_pretrained(folder / "sentiment")


def labelled(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if json.loads(line)["label"] is not None]
    (folder / f"{name}.labelled.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    return [json.loads(line) for line in kept]


def train(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> None:
    head = [p for n, p in model.named_parameters() if "classifier" in n]
    body = [p for n, p in model.named_parameters() if p.requires_grad and "classifier" not in n]
    groups: list[dict[str, Any]] = [{"params": body, "lr": 1e-4}, {"params": head, "lr": 1e-3}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    steps = EPOCHS * len(rows) // BATCH
    schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
    model.train()
    for epoch in range(EPOCHS):
        ordered = sorted(rows, key=lambda row: len(row["text"]))  # batches of like lengths
        batches = [ordered[k : k + BATCH] for k in range(0, len(ordered), BATCH)]
        random.Random(epoch).shuffle(batches)
        for batch in batches:
            labels = torch.tensor([NAMES.index(row["label"]) for row in batch])
            loss = model(**inputs_of(tokenizer, batch), labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    model.eval()


def accuracy(model: Any, tokenizer: Any, rows: list[dict[str, Any]]) -> float:
    right = 0
    with torch.no_grad():
        for k in range(0, len(rows), 64):
            batch = rows[k : k + 64]
            found = model(**inputs_of(tokenizer, batch)).logits.argmax(1).tolist()
            right += sum(NAMES[number] == row["label"] for number, row in zip(found, batch))
    return right / len(rows)


def inputs_of(tokenizer: Any, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    return dict(tokenizer([row["text"] for row in rows], padding=True, return_tensors="pt"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
