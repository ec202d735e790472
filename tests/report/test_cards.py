"""Model cards: metadata that reads back equal, and committed cards that are in step with their reports."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import reports
import yaml
from huggingface_hub import ModelCard

from hf_stitch.recipe.keys import methods_table
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped
from hf_stitch.report.catalogue import CARD, kind_of
from hf_stitch.report.measure import Measure
from hf_stitch.report.rendering.card import COMPARED, card_for, eval_results, line, pipeline_tag, slim
from hf_stitch.report.rendering.committed_cards import METHODS_PAGE, PAGES, main, with_tables
from hf_stitch.report.rendering.summary import summary_markdown
from hf_stitch.report.report import Report

ROOT = Path(__file__).parents[2]
CARDS, RECIPES = ROOT / "model_cards", ROOT / "recipes"
STEMS = sorted(path.relative_to(CARDS).with_suffix("").as_posix() for path in CARDS.rglob("*.json"))
GENUINE = ("real/encoder_to_sentiment", "real/sentence_vectors", "real/sentence_vectors_pooled")
BOTH = [reports.speech_report, reports.parabola_report]


@pytest.mark.parametrize("stem", STEMS)
def test_committed_card_is_that_of_its_report(stem: str) -> None:
    report = Report.load(CARDS / f"{stem}.json")
    assert (CARDS / f"{stem}.md").read_text(encoding="utf-8") == card_for(report)
    assert slim(report) == report, "commit slim(report): single points do not belong into the repository"
    assert report.recipe["name"] == yaml.safe_load((RECIPES / f"{stem}.yaml").read_text()).get(
        "name", stem.split("/")[-1]
    )
    assert any(m.split == "test" for m in report.measures)


def test_a_card_for_every_recipe() -> None:
    """Of every recipe that can be fitted here; those of full size name models and data of the Hub, in place of which
    some were fitted on genuine weights from packages."""
    recipes = sorted(name for name in shipped() if "zoo:" in Recipe.load(name).source.model or name in GENUINE)
    cards = sorted(
        path.relative_to(CARDS).with_suffix("").as_posix() for path in CARDS.rglob("*.md") if path.name != "README.md"
    )
    assert recipes == cards == STEMS
    assert len(recipes) >= 3
    assert all(name.startswith(("thesis/", "real/")) for name in shipped().keys() - set(recipes))
    assert all(Report.load(CARDS / f"{name}.json").recipe["source"]["model"].startswith("local:") for name in GENUINE)


def test_fitted_folders_renew_cards_and_tables(tmp_path: Path) -> None:
    report, fitted = reports.speech_report(), tmp_path / "fitted"
    fitted.mkdir()
    report.save(fitted / "report.json")
    for page, rows in zip(PAGES, (", rows: affine, majority", "")):
        (tmp_path / page).parent.mkdir(exist_ok=True)
        (tmp_path / page).write_text(f"before\n<!-- table: {report.name}{rows} -->\nold\n<!-- end -->\n")
    (tmp_path / "recipes").mkdir()
    (tmp_path / METHODS_PAGE).write_text("<!-- methods -->\nold\n<!-- end -->\n")
    main([str(fitted)], tmp_path)
    assert (tmp_path / METHODS_PAGE).read_text(encoding="utf-8") == f"<!-- methods -->\n{methods_table()}<!-- end -->\n"
    cards = tmp_path / "model_cards"
    assert Report.load(cards / f"{report.name}.json") == slim(report)
    assert (cards / f"{report.name}.md").read_text(encoding="utf-8") == card_for(slim(report))
    short, whole = ((tmp_path / page).read_text(encoding="utf-8").splitlines() for page in PAGES)
    table = summary_markdown(report).splitlines()
    assert whole == ["before", f"<!-- table: {report.name} -->", *table, "<!-- end -->"]
    chosen = [row for name in ("affine", "majority") for row in table if row.startswith(f"| {name} |")]
    assert short[2:-1] == [*table[:2], *chosen]
    assert len(chosen) == 2
    with pytest.raises(KeyError, match="no such method"):
        with_tables(f"<!-- table: {report.name}, rows: no such method -->\n<!-- end -->", cards)


@pytest.mark.parametrize("make", BOTH)
def test_metadata_reads_back_equal(make) -> None:
    report = make()
    text = card_for(report)
    card = ModelCard(text)
    assert card.data.eval_results == eval_results(report)
    assert len(card.data.eval_results) >= 2
    assert card.data.library_name == "transformers"  # what `pipeline(model=ID)` asks for
    assert len(card.data.base_model) == 2
    assert card.data.datasets
    assert set(card.data.metrics) == {result.metric_type for result in card.data.eval_results}
    assert "!!python" not in text
    assert card.data.model_name == report.name
    index = yaml.safe_load(text.split("---")[1])["model-index"]
    assert [entry["name"] for entry in index] == [report.name]


def test_metadata_of_the_speech_card() -> None:
    assert ModelCard(card_for(reports.parabola_report())).data.license == "apache-2.0", "the package's own"
    report = reports.speech_report()
    card = ModelCard(card_for(report))
    assert card.data.license == "apache-2.0"
    assert card.data.pipeline_tag == "audio-classification"
    assert card.data.base_model == ["hf_stitch/zoo-speech_ctc", "hf_stitch/zoo-sentiment_xlnet"]
    assert {"model-stitching", "rbf+nearest"} <= set(card.data.tags)
    found = {(r.dataset_split, r.metric_type): r.metric_value for r in card.data.eval_results}
    assert found["test", "agreement"] == reports.rate("rbf+nearest")
    tested = {(m.split, m.name): m.value for m in report.measures if m.method == "rbf+nearest" and "test" in m.split}
    assert found == tested
    assert len({split for split, _ in found}) == 3


def test_hub_ids_stay_and_local_folders_are_left_out() -> None:
    recipe = {
        "name": "x", "source": {"model": "facebook/wav2vec2-base-960h", "hook": "a"},
        "target": {"model": "/home/me/model dir", "hook": "b", "class": "BertForSequenceClassification"},
        "data": {"test": {"dataset": "./local.csv"}},
    }  # fmt: skip
    card = ModelCard(card_for(reports.speech_report(recipe=recipe, diagnostics={})))
    assert card.data.base_model == ["facebook/wav2vec2-base-960h"]
    assert card.data.license == "unknown", "nothing is known of a Hub id or a folder unless it is recorded"
    assert card.data.to_dict().get("datasets") is None
    assert "not recorded" in card.text


def test_two_licences_are_both_named() -> None:
    card = ModelCard(
        card_for(reports.speech_report(diagnostics={"licences": {"source": "mit", "target": "apache-2.0"}}))
    )
    assert (card.data.license, card.data.license_name) == ("other", "see-base-models")
    assert "mit" in card.text
    assert "apache-2.0" in card.text


@pytest.mark.parametrize(
    ("source", "target", "tag"),
    [
        ({"class": "Wav2Vec2ForCTC"}, {"class": "XLNetForSequenceClassification"}, "audio-classification"),
        ({"model": "zoo:speech_ctc"}, {"class": "XLNetForSequenceClassification"}, "audio-classification"),
        ({"class": "RobertaModel"}, {"class": "XLNetForSequenceClassification"}, "text-classification"),
        ({"class": "LlamaForCausalLM"}, {"class": "GPT2LMHeadModel"}, None),
        ({"class": "LlamaForCausalLM"}, {"class": "LlamaForCausalLM"}, "text-generation"),
        ({}, {}, None),
    ],
)
def test_pipeline_tag(source: dict, target: dict, tag: str | None) -> None:
    assert pipeline_tag(reports.speech_report(recipe={"source": source, "target": target})) == tag


def test_task_in_the_diagnostics_wins() -> None:
    assert pipeline_tag(reports.parabola_report(diagnostics={"task": "tabular-regression"})) == "tabular-regression"


def tables_of(card: str) -> dict[str, list[list[str]]]:
    """The cells of the tables of results, by heading."""
    found: dict[str, list[list[str]]] = {}
    for row in card.partition("## Results")[2].partition("## Use")[0].splitlines():
        if row.startswith("### "):
            found[row[4:]] = []
        elif row.startswith("|"):
            list(found.values())[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip())[1:-1]])
    return found


@pytest.mark.parametrize("make", BOTH)
def test_a_card_compares_methods_by_few_measures_and_names_where_the_others_are(make) -> None:
    report = make()
    text, kind = card_for(report), kind_of(m.name for m in report.measures)
    named = [name for name in CARD[kind] if any(m.name == name for m in report.measures)][:COMPARED]
    for m in report.measures:
        if m.split == "test" and m.name in named:
            assert f" {m.written()}" in text, m.where
    assert "`report.html` and `report.json`" in text
    assert report.verdict.text.replace("|", "\\|") in text
    assert all(note in text for note in report.notes)


@pytest.mark.parametrize("stem", STEMS)
def test_tables_of_cards_are_narrow(stem: str) -> None:
    tables = tables_of((CARDS / f"{stem}.md").read_text(encoding="utf-8"))
    assert any(title.startswith("test") for title in tables)
    for title, (head, *rows) in tables.items():
        assert len(head) <= 7, title
        assert {len(row) for row in rows} == {len(head)}, title
        if title.startswith("test"):
            assert len(head) <= 1 + COMPARED


def measure(name: str, method: str, split: str = "test", **more) -> Measure:
    return Measure(name, method, split, value=0.5, **{"low": 0.4, "high": 0.6, "n": 9, **more})


def tables_with(*measures: Measure) -> dict[str, list[list[str]]]:
    return tables_of(card_for(reports.speech_report(measures=list(measures), diagnostics={})))


def test_a_card_of_many_groups_has_one_table_of_them() -> None:
    names, methods = ("agreement", "kappa"), ("affine", "rbf+nearest")
    groups = [measure(name, m, f"test/g{i}") for i in range(30) for name in names for m in methods]
    found = tables_with(measure("agreement", "rbf+nearest", n=50), *groups)
    assert list(found) == ["test (n = 50)", "rbf+nearest on groups of the test (n = 9)"]
    assert len(found["rbf+nearest on groups of the test (n = 9)"]) == 2 + 30
    alone = tables_with(measure("agreement", "m"), measure("agreement", "m", "test/one"))
    assert list(alone) == ["test (n = 9)"], "one group is the test itself"


def test_a_card_of_measures_that_nobody_knows_shows_the_first_of_them() -> None:
    (rows,) = tables_with(*(measure(f"odd_{i}", "m") for i in range(9))).values()
    assert rows[0] == ["method", "Odd 0", "Odd 1", "Odd 2", "Odd 3"]


def test_a_range_stands_on_the_card_in_words() -> None:
    group = measure("agreement", "g/median", low=None, high=None, range_low=0.1, range_high=0.9, n=5)
    text = card_for(reports.speech_report(measures=[measure("agreement", "m"), group]))
    assert "0.500 (0.100 to 0.900 over 5)" in text
    assert "the range of the members follows in round brackets" in text
    assert "[0.1" not in text


@pytest.mark.parametrize("make", BOTH)
def test_slim_report_gives_the_same_card(make) -> None:
    report = make()
    small = slim(report)
    assert card_for(small) == card_for(report)
    assert slim(small) == small
    assert len(small.to_json()) < 0.75 * len(report.to_json())
    fit = small.diagnostics.fits["diffusion"]
    assert "coordinates" not in fit["source"]
    assert fit["alignment"]["coordinates"] == report.diagnostics.fits["diffusion"]["alignment"]["coordinates"]


def test_card_without_results() -> None:
    text = card_for(reports.speech_report(measures=[], recipe={}, diagnostics={}, notes=[], chosen=None, timings={}))
    assert "Nothing was measured" in text
    assert ModelCard(text).data.eval_results is None


def test_null_values_stay_out_of_the_index() -> None:
    report = reports.speech_report(
        measures=[Measure("agreement", "affine"), Measure("kappa", "affine", value=0.5)], recipe={}
    )
    assert [result.metric_type for result in eval_results(report)] == ["kappa"]


EVIL = "a | b\n---\n# heading [x](http://evil.example) <b>bold</b> `tick ```\n{{ 7 * 7 }}"


def test_no_text_breaks_the_card() -> None:
    base = reports.speech_report()
    recipe = {**base.recipe, "name": EVIL, "description": EVIL, "seed": EVIL}
    recipe["source"] = {"model": EVIL, "hook": EVIL}
    verdict = type(base.verdict)("holds", EVIL, EVIL)
    text = card_for(reports.speech_report(recipe=recipe, verdict=verdict, notes=[EVIL]))
    card = ModelCard(text)
    assert card.data.model_name == EVIL
    body = card.text
    outside = re.sub(r"(?ms)^(`{3,})yaml$.*?^\1$", "", body)
    own = ("## Verdict: The halves fit", "## Results", "## Use", "## What was asked", "## Limits", "## Licences")
    assert [row for row in outside.splitlines() if re.match("##? ", row)][1:] == list(own)
    assert "# heading" not in [found[:9] for found in outside.splitlines()]
    prose = re.sub(r"`[^`\n]+`", "", outside)
    assert "](http" not in prose
    assert "<b>" not in prose
    assert "49" not in body.split()


def test_line_is_one_line_without_power() -> None:
    assert line("a\n b|c") == "a b\\|c"
    assert line("[1, 2] stays") == "[1, 2] stays"
    assert line("[x](y)") == "[x&#93;(y)"
    assert line("`code` and `") == "'code' and '"
