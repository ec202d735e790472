"""The zoo's German: rules of grammar, the translator that learned them, and the spoken data with a German column."""

from __future__ import annotations

from typing import Any

import pytest

from hf_stitch.errors import ZooError
from hf_stitch.zoo import catalogue
from hf_stitch.zoo.parquet import read_rows
from hf_stitch.zoo.speech import grammar, translations, translator
from hf_stitch.zoo.speech.german import NOUNS, TEMPLATES, german

SENTENCES = {
    "the film was not good at all last night": "der film war gestern abend gar nicht gut",
    "that old soup was far from bad": "jene alte suppe war bei weitem nicht schlecht",
    "our new car was dull at first but anything but ugly in the end": (
        "unser neues auto war zuerst stumpf aber am ende alles andere als hässlich"
    ),
    "although the tea was weak the cake was very nice": "obwohl der tee schwach war war der kuchen sehr nett",
    "our friends enjoyed this long trip today": "unsere freunde genossen heute diese lange reise",
    "she did not regret our flight": "sie bereute unseren flug nicht",
    "nobody mocked that singer": "niemand verspottete jenen sänger",
    "we expected an awful match but it was so funny": "wir erwarteten eine furchtbare partie aber es war so lustig",
    "they hoped for a good room and it was simply perfect": (
        "sie hofften auf ein gutes zimmer und es war einfach perfekt"
    ),
    "what a nice actor": "was für ein netter schauspieler",
    "it was not a good speech at home": "es war zu hause keine gute rede",
    "my brother would gladly see the small museum again": "mein bruder würde das kleine museum gern noch einmal sehen",
    "this song was worse than they thought": "dieses lied war schlechter als sie dachten",
    "no garden could be better with friends": "kein garten könnte mit freunden besser sein",
    "despite the poor team he liked the beach": "trotz der armseligen mannschaft mochte er den strand",
    "the train seemed lovely but i hated it": "der zug schien lieblich aber ich hasste ihn",
}


@pytest.mark.parametrize("text", SENTENCES)
def test_each_template_in_german(text: str) -> None:
    assert german(text) == SENTENCES[text]


def test_every_sentence_of_the_grammar_has_german() -> None:
    assert len(SENTENCES) >= len(TEMPLATES)
    assert set(NOUNS) == set(grammar.NOUNS)
    texts = [sentence.text for part in grammar.splits().values() for sentence in part]
    written = {text: german(text) for text in texts}
    assert max(len(text.split()) for text in written.values()) < translator.LIMIT
    same = {text for text, other in written.items() if text == other}
    assert not same
    assert len(set(written.values())) == len(written)
    for text in ("the film was", "", "the film was purple"):
        with pytest.raises(ZooError, match="not a sentence of the grammar"):
            german(text)


def test_the_translator_writes_what_the_rules_write() -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    folder = catalogue.resolve_model("bart-german")
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = [row["text"] for row in read_rows(catalogue.resolve_data("opinions") / "test.parquet")][:64]
    written = translator.translate(model, tokenizer, texts)
    assert sum(a == german(b) for a, b in zip(written, texts)) >= 60
    assert sum(path.stat().st_size for path in folder.iterdir()) < 320_000


def test_the_spoken_opinions_have_a_german_column(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    folder = catalogue.resolve_data("zoo:opinions-german")
    assert folder == catalogue.resolve_data("opinions-german")
    for part in ("fit", "validation", "test"):
        ours = read_rows(folder / f"{part}.parquet")
        theirs = read_rows(catalogue.resolve_data("opinions") / f"{part}.parquet")
        assert [{k: v for k, v in row.items() if k != "german"} for row in ours] == theirs
        assert all(row["german"] == german(row["text"]) for row in ours)
    monkeypatch.setattr(translations, "SPOKEN", tmp_path)
    with pytest.raises(ZooError, match=r"opinions.*zoo build"):
        catalogue.resolve_data("opinions-german")


def test_a_course_of_few_steps_leaves_a_whole_model(tmp_path: Any) -> None:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    sentences = grammar.splits()["train"][:96]
    done = translator.train_translator(sentences, tmp_path, lambda message: None, steps=2)
    assert done["steps"] == 2
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval(), AutoTokenizer.from_pretrained(tmp_path)
    assert len(translator.translate(model, tokenizer, ["the film was good"])) == 1
    assert tokenizer("der")["input_ids"][0] == 0
    assert model.generation_config.max_new_tokens == translator.LIMIT
