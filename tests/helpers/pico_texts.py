"""The words of the tests' tiny models, and tokenizers of them."""

from __future__ import annotations

WORDS = ("a", "bad", "boring", "film", "good", "great", "i", "it", "like", "never", "not", "play", "so", "the", "this",
         "very", "was", "watch")  # fmt: skip
SENTENCES = ("the film was very good", "i never like this boring play", "it was not so bad", "this great film")


def _word_tokenizer(vocabulary: list[str]):
    from tokenizers.models import WordLevel

    model = WordLevel({word: i for i, word in enumerate(vocabulary)}, "<unk>")
    names = {"sep_token": "<sep>", "cls_token": "<cls>", "padding_side": "left"}
    return _tokenizer(model, vocabulary, "$A <sep> <cls>", names)


def _piece_tokenizer(vocabulary: list[str]):
    from tokenizers.models import WordPiece

    model = WordPiece({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>")
    return _tokenizer(model, vocabulary, "<s> $A </s>", {"sep_token": "</s>", "cls_token": "<s>"})


def _tokenizer(model, vocabulary: list[str], frame: str, names: dict[str, str]):
    from tokenizers import Tokenizer, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    places = [(token, vocabulary.index(token)) for token in frame.split() if token != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=frame, special_tokens=places)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", model_max_length=64, **names
    )
