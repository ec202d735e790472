"""What holds of every verb: its common options, and that the example in its help runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from pico_recipes import listening, saved

import hf_stitch
from hf_stitch.cli.app import command, verbs
from hf_stitch.cli.main import main
from hf_stitch.recipe.shipped import shipped

VERBS = verbs(command())
SMALL = ["data.fit.samples=64", "compare=[]", "directions=forward", "--device", "cpu"]
# What makes an example quick, or keeps it on this machine.
MORE = {"fit": SMALL, "evaluate": ["--device", "cpu"], "predict": ["--device", "cpu"], "push": ["--dry-run"]}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(list(words))
    out, err = capsys.readouterr()
    return status, re.sub(r"\x1b\[[\d;]*m", "", out), err


def example(verb: str) -> list[str]:
    """The words of the example in the help of a verb."""
    [found] = [line for line in VERBS[verb].epilog.splitlines() if line.startswith("Example: hf-stitch ")]
    return shlex.split(found.removeprefix("Example: hf-stitch "))


def test_all_verbs_are_found() -> None:
    assert {"fit", "evaluate", "predict", "inspect", "push"} < VERBS.keys()
    assert {"recipes ls", "zoo build", "cache clear"} < VERBS.keys()
    assert len(VERBS) == 14


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("ask", ["-h", "--help"])
def test_every_verb_has_the_common_options(capsys: pytest.CaptureFixture[str], verb: str, ask: str) -> None:
    status, out, err = run(capsys, *verb.split(), ask)
    assert (status, err) == (0, "")
    for option in ("-q, --quiet ", "-v, --verbose ", "-h, --help "):
        assert out.count(option) == 1
    assert out.startswith(f"Usage: hf-stitch {verb} ")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> Path:
    """A folder with what the examples name: a stitched model, sounds, a table and a recipe."""
    desk = tmp_path_factory.mktemp("desk")
    content = listening(pico_listener, pico_xlnet, spoken, neighborhoods={"kind": "none"})
    recipe, out = saved(content, tmp_path_factory.mktemp("recipe")), desk / "stitched" / "speech_sentiment"
    assert main(["fit", str(recipe), "--out", str(out), "--device", "cpu", "-q"]) == 0
    shutil.copy(spoken / "fit-0.wav", desk / "a.wav")
    shutil.copy(spoken / "fit-1.wav", desk / "b.flac")  # whatever it is called, what is in it decides
    rows = [json.loads(line) for line in (spoken / "test.jsonl").read_text().splitlines()]
    lines = [f"{spoken / row['audio']},{row['text']},{('negative', 'positive')[row['label']]}" for row in rows]
    (desk / "calls.csv").write_text("\n".join(["audio,words,mood", *lines]))
    return desk


@pytest.mark.parametrize("verb", VERBS)
def test_the_example_of_every_verb_runs(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, desk: Path, tmp_path: Path, verb: str
) -> None:
    words = example(verb)
    assert words[: len(verb.split())] == verb.split()
    monkeypatch.chdir(shutil.copytree(desk, tmp_path / "desk"))
    if verb == "recipes check":
        shutil.copy(shipped()["parabola"], "mine.yaml")
    before = set(Path().rglob("*"))
    status, out, err = run(capsys, *words, *MORE.get(verb, []))
    assert status == 0, err
    assert out or verb == "zoo build"  # which tells how far it is
    made = {"fit": "stitched/parabola/report.json", "recipes copy": "mine.yaml", "zoo build": "zoo/data/parabola"}
    assert Path(made.get(verb, ".")).exists()
    if verb not in made:
        assert set(Path().rglob("*")) == before
    if verb not in ("fit", "evaluate", "zoo build", "push"):
        assert err == ""
    # The same, quiet.
    if verb not in made:
        status, again, err = run(capsys, *words, *MORE.get(verb, []), "--quiet")
        assert (status, err) == (0, "")
        assert bool(again)


def test_verbose_says_where_an_error_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "inspect", "zoo:nothing", "--verbose")
    assert status == 2
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("hf-stitch: the zoo has no model 'nothing'")
    status, _, err = run(capsys, "inspect", "zoo:nothing")
    assert err.count("\n") == 1, "what one command was asked for is not the next one's"


def test_the_package_names_what_is_public_and_nothing_else() -> None:
    hf_stitch.metric_path  # noqa: B018 - a name that is touched is kept
    named = [name for name in dir(hf_stitch) if not name.startswith("__")]
    assert named == sorted(hf_stitch.__all__)
    assert {"__doc__", "__version__", "__all__"} < set(dir(hf_stitch))


def files(folder: Path) -> set[tuple[str, int]]:
    return {(str(path), path.stat().st_mtime_ns) for path in folder.rglob("*")}


def test_listing_the_zoo_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    cache = Path(os.environ["HF_STITCH_CACHE"])
    status, out, _ = run(capsys, "zoo", "ls")
    assert status == 0
    assert files(cache) == set()
    sizes = {line.split()[0]: line.split(maxsplit=2)[2] for line in out.splitlines()[1:]}
    assert sizes["zoo:cameras"].strip() == "made when first opened"
    assert re.fullmatch(r"[\d.]+ [kM]?B", sizes["zoo:parabola"].strip())


def test_the_cache_says_what_it_holds(
    capsys: pytest.CaptureFixture[str], pico_listener: Path, pico_xlnet: Path, spoken: Path, tmp_path: Path
) -> None:
    content = listening(pico_listener, pico_xlnet, spoken, neighborhoods={"kind": "none"}, name="calls")
    words = ["fit", str(saved(content, tmp_path)), "--out", str(tmp_path / "out"), "--device", "cpu"]
    status, out, err = run(capsys, *words, "-q")
    assert (status, err) == (0, "")
    assert "affine *" in out
    status, out, _ = run(capsys, "cache", "ls")
    assert status == 0
    for split, count in (("fit", 30), ("test", 14)):
        [line] = [line for line in out.splitlines() if f"calls: {split}, {count} samples" in line]
        assert f"{pico_listener.name} at wav2vec2.encoder.layers.0 " in line
        assert f"{pico_xlnet.name} at transformer.word_embedding " in line
        assert re.search(r"\d+\.\d [kM]B +now +[0-9a-f]{24}", line)
    about = next(Path(os.environ["HF_STITCH_CACHE"]).glob("*.about.json"))
    about.write_text("[torn")
    assert "of an earlier version" in run(capsys, "cache", "ls")[1]
    assert run(capsys, "cache", "clear")[1].startswith("2 entries, ")
    assert list(Path(os.environ["HF_STITCH_CACHE"]).iterdir()) == []


def test_inspect_counts_as_the_report_does(capsys: pytest.CaptureFixture[str], desk: Path) -> None:
    folder = desk / "stitched" / "speech_sentiment"
    told: dict[str, Any] = json.loads((folder / "report.json").read_text())["parameters"]
    status, out, err = run(capsys, "inspect", str(folder))
    assert status == 0, err
    parts = out[out.index("part ") : out.index("module ")].splitlines()
    rows = {row.split()[0]: row.replace(",", "").split()[1:] for row in parts if row}
    assert rows.keys() == {"part", "prefix", "layer", "suffix", "total", "trust"}
    for name in ("prefix", "layer", "suffix", "total", "trust"):
        parameters, buffers, numbers = map(int, rows[name][:3])
        assert parameters + buffers == numbers == told[name]
    for name in ("prefix", "layer", "suffix", "total"):
        assert int(rows[name][3]) == told["multiply_adds"][name]
    assert f"{int(rows['total'][0]):,} parameters" in out
