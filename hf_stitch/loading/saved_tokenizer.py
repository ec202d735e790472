"""How the source's tokenizer lies in the folder of a stitched model whose tokenizer also makes spans.

Its tokenizer_config.json names `StitchedTokenizer` as the class to load, which transformers finds by that name where
hf_stitch is imported, and beside that the class of the source's own tokenizer.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hf_stitch.runtime.files import write_text

CLASS = "StitchedTokenizer"
OWN_CLASS = "source_tokenizer_class"
_FILE = "tokenizer_config.json"


def mark(folder: Path) -> None:
    """Have transformers load the tokenizer that was saved there as a `StitchedTokenizer`."""
    config = json.loads((folder / _FILE).read_text(encoding="utf-8"))
    own = config.get("tokenizer_class")
    named = config | {"tokenizer_class": CLASS, OWN_CLASS: config.get(OWN_CLASS) if own == CLASS else own}
    write_text(folder / _FILE, json.dumps(named, indent=2, ensure_ascii=False) + "\n")


def is_marked(place: str, **where: Any) -> bool:
    """Whether what is saved there is to be loaded as a `StitchedTokenizer`."""
    from transformers.models.auto.tokenization_auto import get_tokenizer_config

    return bool(get_tokenizer_config(place, **where).get("tokenizer_class") == CLASS)


def load_tokenizer(place: str, **where: Any) -> Any:
    """The tokenizer of a model; of a stitched model that of its source.

    Args:
        where: `revision` and other arguments of `from_pretrained`.
    """
    from transformers import AutoTokenizer
    from transformers.models.auto.tokenization_auto import get_tokenizer_config, tokenizer_class_from_name
    from transformers.tokenization_utils_tokenizers import TokenizersBackend

    config = get_tokenizer_config(place, **where)
    if config.get("tokenizer_class") != CLASS:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False, **where)
    own = tokenizer_class_from_name(str(config.get(OWN_CLASS))) or TokenizersBackend
    return own.from_pretrained(place, **where)
