"""The tokenizer of Speech2Text2 checkpoints: `vocab.json` and byte pair `merges.txt` in the layout of fastBPE."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizer

END, GOES_ON = "</w>", "@@"  # end of a word in the merges; a piece that is continued, in the vocabulary


class Speech2Text2Tokenizer(PreTrainedTokenizer):
    """Words are split at blanks and cut into pieces; without `merges.txt` it can only decode."""

    vocab_files_names = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}  # noqa: RUF012
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012

    def __init__(
        self,
        vocab_file: str,
        merges_file: str | None = None,
        bos_token: str = "<s>",
        pad_token: str = "<pad>",
        eos_token: str = "</s>",
        unk_token: str = "<unk>",
        do_lower_case: bool = False,
        **kwargs: Any,
    ) -> None:
        self.do_lower_case = do_lower_case
        self.encoder: dict[str, int] = json.loads(Path(vocab_file).read_text(encoding="utf-8"))
        self.decoder = {number: piece for piece, number in self.encoder.items()}
        # Published checkpoints without merges are for decoding alone, as the model writes and never reads.
        self.ranks: dict[tuple[str, str], int] | None = None
        if merges_file is not None:
            lines = Path(merges_file).read_text(encoding="utf-8").split("\n")
            pairs = [tuple(line.split()[:2]) for line in lines if line.strip() and not line.startswith("#version")]
            self.ranks = {(first, second): rank for rank, (first, second) in enumerate(pairs)}
        super().__init__(
            bos_token=bos_token, pad_token=pad_token, eos_token=eos_token, unk_token=unk_token,
            do_lower_case=do_lower_case, **kwargs,
        )  # fmt: skip

    @property
    def vocab_size(self) -> int:
        return len(self.encoder)

    def get_vocab(self) -> dict[str, int]:
        return {**self.encoder, **self.added_tokens_encoder}

    def pieces(self, word: str) -> list[str]:
        """A word in pieces of the vocabulary: the best ranked neighbours are joined until none is known."""
        ranks = self.ranks
        assert ranks is not None
        parts = [*word[:-1], word[-1] + END]
        while len(parts) > 1:
            best = min(pairwise(parts), key=lambda pair: ranks.get(pair, len(ranks)))
            if best not in ranks:
                break
            joined: list[str] = []
            for part in parts:  # all places at once, from the left
                if joined and (joined[-1], part) == best:
                    joined[-1] = joined[-1] + part
                else:
                    joined.append(part)
            parts = joined
        return [part + GOES_ON for part in parts[:-1]] + [parts[-1].removesuffix(END)]

    def _tokenize(self, text: str, **_kwargs: Any) -> list[str]:
        if self.ranks is None:
            raise ValueError("this tokenizer came without merges.txt, so it can only decode; put that file beside it")
        words = (text.lower() if self.do_lower_case else text).split()
        return [piece for word in words for piece in self.pieces(word)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.encoder.get(token, self.encoder[str(self.unk_token)])

    def _convert_id_to_token(self, index: int) -> str:
        return self.decoder.get(index, str(self.unk_token))

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Pieces as text: those that go on are joined to the next one."""
        return " ".join(tokens).replace(f"{GOES_ON} ", "")

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Write both files; returns their paths."""
        front = f"{filename_prefix}-" if filename_prefix else ""
        vocabulary = Path(save_directory) / f"{front}vocab.json"
        vocabulary.write_text(json.dumps(self.encoder, ensure_ascii=False, indent=2), encoding="utf-8")
        if self.ranks is None:
            return (str(vocabulary),)
        merges = Path(save_directory) / f"{front}merges.txt"
        merges.write_text("".join(f"{a} {b}\n" for a, b in self.ranks), encoding="utf-8")
        return str(vocabulary), str(merges)
