"""The command line: every verb, every status, one line for every error that a user can cause."""

from __future__ import annotations

import errno
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from pico_recipes import listening, saved
from pico_texts import SENTENCES

from hf_stitch.cli import evaluate, predict
from hf_stitch.cli.inspect import folded
from hf_stitch.cli.main import main, status_of
from hf_stitch.recipe.digest import digest
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.recipe.shipped import shipped
from hf_stitch.runtime import cache

NUMBERS = ["parabola", "data.fit.samples=64", "compare=[]", "neighborhoods.kind=none", "stitch={method: affine}"]
VERBS = ["fit", "evaluate", "predict", "inspect"]
GROUPS = {"recipes": ["ls", "show", "copy", "check"], "zoo": ["ls", "build"], "cache": ["ls", "clear"]}
HEAVY = ("datasets", "evaluate", "matplotlib", "numpy", "pydantic", "scipy", "torch", "transformers", "yaml")


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Status, stdout and stderr of one command."""
    capsys.readouterr()
    status = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return status, re.sub(r"\x1b\[[\d;]*m", "", out), err


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line on stderr of a command that the user can mend."""
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    lines = [line for line in err.splitlines() if line.startswith("hf-stitch: ")]
    assert len(lines) == 1
    assert "Traceback" not in err
    return lines[0]


@pytest.fixture(scope="session")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = [{"text": text, "label": i % 2} for i, text in enumerate(SENTENCES * 6)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory, rows: Path, pico_roberta: Path, pico_xlnet: Path) -> Path:
    """Pieces of words onto words, by characters: the quickest fit there is."""
    data = f"{{dataset: {rows}, columns: {{source: text, label: label}}}}"
    path = tmp_path_factory.mktemp("recipe") / "pico.yaml"
    path.write_text(
        f"source: {{model: {pico_roberta}, hook: roberta.encoder.layer.0}}\n"
        f"target: {{model: {pico_xlnet}, hook: transformer.layer.0}}\n"
        f"data: {{fit: {data}, test: {data}}}\nneighborhoods: {{kind: none}}\nsequence: {{length: spans}}\n"
    )
    return path


@pytest.fixture(scope="session")
def stitched(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    folder = tmp_path_factory.mktemp("stitched") / "pico"
    assert main(["fit", str(recipe), "--out", str(folder), "--device", "cpu"]) == 0
    return folder


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import runpy, sys\nsys.argv = ['hf-stitch', '--help']\n"
        "try: runpy.run_module('hf_stitch', run_name='__main__')\n"
        "except SystemExit as ending: assert not ending.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Usage: hf-stitch" in done.stdout


def test_the_module_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "hf_stitch", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("hf-stitch: No such command 'nonsense'")


@pytest.mark.parametrize("words", [[], ["--help"], *([group] for group in GROUPS)])
def test_help_without_a_verb(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, _ = run(capsys, *words)
    assert status == 0
    assert out.startswith("Usage: hf-stitch")
    for verb in GROUPS[words[0]] if words and words[0] in GROUPS else [*VERBS, *GROUPS]:
        assert re.search(rf"^  {verb} ", out, re.MULTILINE)


@pytest.mark.parametrize("words", [[v] for v in VERBS] + [[g, v] for g, verbs in GROUPS.items() for v in verbs])
def test_every_verb_has_help_with_an_example(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    status, out, _ = run(capsys, *words, "--help")
    assert status == 0
    assert f"Example: hf-stitch {' '.join(words)}" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--version")
    assert status == 0
    assert re.fullmatch(r"hf-stitch \d+\.\d+\.\d+\n", out)


WRONG_WORDS = [
    (["fitt"], "Did you mean 'fit'"),
    (["fit"], "Missing argument 'RECIPE'; see hf-stitch fit --help"),
    (["fit", "parabola", "--devcie", "cpu"], "No such option"),
    (["fit", "parabolla"], "no recipe 'parabolla'.*did you mean 'parabola'"),
    (["fit", "parabola", "stitch.methd=rbf"], "unknown key `stitch.methd`; did you mean 'method'"),
    (["fit", "parabola", "seed"], "override 'seed': expected key=value"),
    (["fit", "parabola", "--dtype", "floot32"], "floot32.*did you mean 'float32'"),
    (["fit", "parabola", "--device", "cuda:99"], "cuda:99"),
    (["fit", "parabola", "--out", "/dev/null/x"], "/dev/null, in which /dev/null/x would lie, is no folder"),
    (["evaluate", "nowhere"], "nowhere: no such folder"),
    (["predict", "nowhere", "a.wav"], "nowhere: no such folder"),
    (["inspect", "zoo:nothing"], "the zoo has no model 'nothing'"),
    (["inspect", "./nowhere"], "no such folder"),
    (["recipes", "show", "nothing"], "no recipe 'nothing'"),
    (["recipes", "check", "nothing"], "no recipe 'nothing'"),
    (["zoo", "build", "nothing"], "nothing"),
]


@pytest.mark.parametrize(("words", "message"), WRONG_WORDS, ids=[" ".join(words) for words, _ in WRONG_WORDS])
def test_what_the_user_can_mend_is_status_2_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, *words))


def raising(error: BaseException):
    def fail() -> None:
        raise error

    return fail


ENDS = {
    "fault": (ZeroDivisionError("oops"), 1, "please report"),
    "interrupt": (KeyboardInterrupt(), 130, "the same command again takes up where this one stopped"),
    "full": (OSError(errno.ENOSPC, "No space left on device", "/tmp/x/y"), 2, r"no space left: \d+ MB free in /tmp;"),
    "full of safetensors": (RuntimeError("I/O error: No space left on device (os error 28)"), 2, "no space left"),
    "forbidden": (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "no permission for /root/x"),
    "memory": (MemoryError(), 2, "out of memory"),
    "pipe": (BrokenPipeError(), 0, ""),
    "exit": (SystemExit(3), 3, ""),
}


@pytest.mark.parametrize(("error", "status", "message"), ENDS.values(), ids=ENDS.keys())
def test_each_way_to_end_has_its_status(
    capfd: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    app = typer.Typer()
    app.command()(raising(error))
    assert status_of(typer.main.get_command(app), []) == status
    err = capfd.readouterr().err
    assert re.search(message, err)
    assert ("Traceback" in err) == (status == 1)


def test_recipes_are_listed_shown_copied_and_checked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "recipes", "ls")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[1:]] == list(shipped())
    name, path = next(iter(shipped().items()))
    assert run(capsys, "recipes", "show", name)[:2] == (0, path.read_text())
    assert run(capsys, "recipes", "copy", name)[0] == 0
    assert (tmp_path / path.name).read_text() == path.read_text()
    assert "exists" in refused(capsys, "recipes", "copy", name, path.name)
    assert run(capsys, "recipes", "copy", name, "new/mine.yaml")[0] == 0
    status, out, _ = run(capsys, "recipes", "check", "new/mine.yaml", "seed=5")
    assert status == 0
    assert "is a recipe; it fits " in out
    (tmp_path / "bad.yaml").write_text("sitch: 1")
    assert "unknown key `sitch`" in refused(capsys, "recipes", "check", "bad.yaml")


def test_the_cache_is_listed_and_cleared_and_nothing_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_STITCH_CACHE", str(tmp_path / "cache"))
    assert run(capsys, "cache", "ls")[1] == f"0 entries, 0 B in {tmp_path / 'cache'}\n"
    entry, other = tmp_path / "cache" / digest("a"), tmp_path / "cache" / "notes"
    for folder in (entry / "parts", other):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"x" * 1500)
    (tmp_path / "cache" / digest("b")).symlink_to(other)
    status, out, _ = run(capsys, "cache", "ls")
    assert status == 0
    assert entry.name in out
    assert out.splitlines()[-1].startswith("1 entries, 1.5 kB in")
    assert run(capsys, "cache", "clear")[1].startswith("1 entries, 1.5 kB deleted from")
    assert not entry.exists()
    assert (other / "file").exists()
    assert (tmp_path / "cache" / digest("b")).is_symlink()


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HF_STITCH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "hf_stitch"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "hf_stitch"


def test_the_zoo_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "zoo", "ls")
    assert status == 0
    assert "zoo:parabola-a-0" in out


def test_zoo_build_makes_what_is_named_and_nothing_else(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, told = run(capsys, "zoo", "build", "zoo:parabola", "--out", tmp_path)
    assert status == 0
    assert "parabola: done" in told
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {"data/parabola/fit.parquet", "data/parabola/test.parquet"}


def test_inspect_shows_hook_points(capsys: pytest.CaptureFixture[str], pico_roberta: Path) -> None:
    status, out, _ = run(capsys, "inspect", pico_roberta)
    assert status == 0
    assert "RobertaForSequenceClassification" in out
    assert re.search(r"roberta\.encoder\.layer\.0 \(to 1 alike\) +RobertaLayer +\(b, t, 16\) +batch_first +[\d,]+", out)
    assert "roberta.encoder.layer.1" not in out
    assert "roberta.encoder.layer.1" in run(capsys, "inspect", pico_roberta, "--all")[1]
    assert "RobertaModel" in run(capsys, "inspect", pico_roberta.parent / pico_roberta.name)[1]
    assert "did you mean" in refused(capsys, "inspect", pico_roberta, "--class", "RobertaModl")


def row(name: str, parameters: int = 1) -> dict:
    return {"name": name, "class": "L", "parameters": parameters, "shape": "(b)", "layout": "flat", "usable": True}


def test_equal_layers_are_folded_into_the_first_of_each_run() -> None:
    names = ["a", "a.0", "a.0.x", "a.1", "a.1.x", "a.2", "a.2.x", "a.10", "b", "b1", "b2"]
    rows = [row(name, 2 if name in ("a.2", "a.2.x") else 1) for name in names]
    kept = folded(rows)
    assert [one["name"] for one in kept] == ["a", "a.0", "a.0.x", "a.2", "a.2.x", "a.10", "b", "b1", "b2"]
    assert [one.get("alike") for one in kept] == [None, 1] + [None] * 7
    run_of_three = folded([row("a.0"), row("a.1"), row("a.2"), row("a.2.x")])
    assert [one["name"] for one in run_of_three] == ["a.0", "a.2", "a.2.x"]


def test_fit_tells_verdict_measures_and_files(capsys: pytest.CaptureFixture[str], stitched: Path, recipe: Path) -> None:
    status, out, err = run(capsys, "fit", recipe, "--out", stitched)
    assert status == 0, err
    assert "agreement" in out
    assert "95 % interval" in out
    assert f"next: hf-stitch predict {stitched} INPUT" in out
    for name in ("report.json", "model.safetensors", "recipe.yaml"):
        assert name in out
        assert (stitched / name).is_file()


def test_fit_writes_below_stitched_by_default(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recipe: Path
) -> None:
    from hf_stitch.report.report import Report

    monkeypatch.chdir(tmp_path)
    assert run(capsys, "fit", recipe, "seed=1", "--device", "cpu", "--dtype", "bfloat16", "name=a/b c")[0] == 0
    report = Report.load(tmp_path / "stitched" / "a-b-c")
    assert (report.recipe["name"], report.recipe["seed"]) == ("a/b c", 1)
    assert (report.environment["device"], report.environment["dtype"]) == ("cpu", "bfloat16")


def test_fit_refuses_a_folder_with_something_else(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recipe: Path, stitched: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert "something else" in refused(capsys, "fit", recipe, "--out", tmp_path)
    assert "another recipe" in refused(capsys, "fit", recipe, "seed=7", "--out", stitched)


def test_predict_writes_json_lines_when_piped(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stitched: Path
) -> None:
    texts = [*SENTENCES * 3, "a film"]
    (tmp_path / "texts.txt").write_text("\n\n".join(texts))
    status, out, err = run(capsys, "predict", stitched, tmp_path / "texts.txt", "--device", "cpu")
    assert status == 0, err
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["input"] for one in found] == texts
    for one in found:
        assert set(one) == {"input", "label", "score", "scores", "trust", "trust_parts"}
        assert set(one["scores"]) == {"negative", "positive"}
        assert one["score"] == max(one["scores"].values()) == one["scores"][one["label"]]
        assert sum(one["scores"].values()) == pytest.approx(1)
    for words in ([], ["-"]):
        monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(texts[:2]) + "\n\n"))
        again = [json.loads(line) for line in run(capsys, "predict", stitched, *words)[1].splitlines()]
        assert [one["label"] for one in again] == [one["label"] for one in found[:2]]
        assert again[0]["scores"] == pytest.approx(found[0]["scores"], abs=1e-6)


def test_predict_shows_a_table_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stitched: Path
) -> None:
    (tmp_path / "texts.txt").write_text(SENTENCES[0])
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    status, out, _ = run(capsys, "predict", stitched, tmp_path / "texts.txt")
    assert status == 0
    assert out.splitlines()[0].split() == ["input", "label", "score", "trust", "negative", "positive"]
    assert SENTENCES[0] in out


@pytest.mark.parametrize("terminal", [False, True])
def test_predict_shows_any_text_as_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, stitched: Path, terminal: bool
) -> None:
    odd = b"a [/red] film\na \x1b[31mred film\nw\xff\xfe\na [bold] film\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(odd), "utf-8"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    status, out, err = run(capsys, "predict", stitched)
    assert status == 2
    assert "stdin: not text in UTF-8" in err
    assert "\x1b[31mred" not in out
    found = out if terminal else "\n".join(json.loads(line)["input"] for line in out.splitlines())
    wanted = ["a [/red] film", "a \\x1b[31mred film" if terminal else "a \x1b[31mred film", "a [bold] film"]
    assert all(text in found for text in wanted), "the others have their answers"


def test_predict_abstains(capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path: Path, stitched: Path) -> None:
    (tmp_path / "texts.txt").write_text(SENTENCES[0])
    words = ("predict", stitched, tmp_path / "texts.txt", "--abstain")
    one = json.loads(run(capsys, *words, "1")[1])
    assert one["label"] is None
    assert one["abstained"].startswith("trust ")
    assert "abstain: expected a share from 0 to 1" in refused(capsys, *words, "2")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "abstained" in run(capsys, *words, "1")[1]


def test_what_came_before_a_useless_input_is_still_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, stitched: Path
) -> None:
    (tmp_path / "good.txt").write_text(SENTENCES[0])
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00")
    status, out, err = run(capsys, "predict", stitched, tmp_path / "good.txt", tmp_path / "bad.txt")
    assert status == 2
    assert len(out.splitlines()) == 1
    assert "bad.txt: not text in UTF-8" in err
    for content, message in ((None, "no such file"), (b"\n", "blank")):
        (tmp_path / "bad.txt").unlink()
        if content:
            (tmp_path / "bad.txt").write_bytes(content)
            assert message in refused(capsys, "predict", stitched, tmp_path / "bad.txt")
            continue
        assert message in refused(capsys, "predict", stitched, tmp_path / "bad.txt")
        (tmp_path / "bad.txt").touch()


def test_a_truncated_model_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path, stitched: Path) -> None:
    import shutil

    folder = Path(shutil.copytree(stitched, tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (tmp_path / "a.txt").write_text("a film")
    assert "truncated" in refused(capsys, "predict", folder, tmp_path / "a.txt")
    (folder / "config.json").unlink()
    assert "config.json" in refused(capsys, "predict", folder, tmp_path / "a.txt")
    assert "no stitched model" in refused(capsys, "evaluate", folder)


def test_inspect_shows_where_the_halves_of_a_stitched_model_meet(
    capsys: pytest.CaptureFixture[str], stitched: Path
) -> None:
    status, out, err = run(capsys, "inspect", stitched)
    assert status == 0, err
    assert "roberta.encoder.layer.0 -> affine (16 to 16 features, length spans) -> " in out
    assert re.search(r"^layer ", out, re.MULTILINE)
    assert "multiply-adds (32 -> 32 positions)" in out
    parts = out[out.index("part ") : out.index("module ")].splitlines()
    rows = {row.split()[0]: row.split()[1:] for row in parts if row}
    assert int(rows["total"][3].replace(",", "")) > int(rows["suffix"][3].replace(",", "")) > 0
    assert "shape" not in out, "no columns without entries"


def test_evaluate_measures_again(capsys: pytest.CaptureFixture[str], stitched: Path, rows: Path) -> None:
    status, out, err = run(capsys, "evaluate", stitched, "--device", "cpu")
    assert status == 0, err
    assert "agreement" in out
    status, out, err = run(capsys, "evaluate", stitched, f"dataset={rows}", "split=train[:50%]", "--device", "cpu")
    assert status == 0, err
    assert re.search(r" 12\n| 12 ", out)
    assert "did you mean 'dataset'" in refused(capsys, "evaluate", stitched, "datasett=x")


def test_another_data_set_needs_no_more_than_the_inputs_of_both_models(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, listens: Path, spoken: Path
) -> None:
    """The example of --help, on a model whose recipe has the columns of the one that it names."""
    rows = [json.loads(line) for line in (spoken / "test.jsonl").read_text().splitlines()]
    moods = ["negative", "positive"]
    calls = [{"audio": spoken / row["audio"], "words": row["text"], "mood": moods[row["label"]]} for row in rows]
    lines = ["audio,words,mood", *(",".join(map(str, call.values())) for call in calls)]
    (tmp_path / "calls.csv").write_text("\n".join(lines))
    named = Recipe.load("speech_sentiment").data.fit.columns.model_dump(exclude_none=True)
    assert Recipe.load(listens / "recipe.yaml").data.fit.columns.model_dump(exclude_none=True) == named
    words = [word.replace("calls.csv", str(tmp_path / "calls.csv")) for word in evaluate.EXAMPLE.split()[3:]]
    status, out, err = run(capsys, "evaluate", listens, *words, "--device", "cpu")
    assert status == 0, err
    assert "accuracy" in out
    assert "no column for text ('text'), group ('group'), id ('id'): left out" in out
    status, out, err = run(capsys, "evaluate", listens, words[0], "columns.target=words", "--device", "cpu")
    assert (status, "accuracy" in out) == (0, False), err
    told = refused(capsys, "evaluate", listens, words[0], "columns={source: sound, label: moods}", "--device", "cpu")
    for wanted in ("columns.source: no column 'sound'", "columns.target: no column 'text'", "label: no column 'moods'"):
        assert wanted in told, "all at once"
    assert "no column for" not in told
    assert "columns`: expected a mapping" in refused(capsys, "evaluate", listens, words[0], "columns=words")


def test_other_data_take_no_split_from_the_old() -> None:
    assert evaluate.asked(["data.test.samples=3", "columns.label=x"]) == {"samples": 3, "columns": {"label": "x"}}
    assert evaluate.asked(["dataset=a.csv"]) == {"dataset": "a.csv", "split": None, "samples": None, "revision": None}


@pytest.fixture(scope="session")
def listens(tmp_path_factory: pytest.TempPathFactory, pico_listener: Path, pico_xlnet: Path, spoken: Path) -> Path:
    """A stitched model that takes sound."""
    folder = tmp_path_factory.mktemp("listens")
    content = listening(pico_listener, pico_xlnet, spoken, neighborhoods={"kind": "none"}, data={"test": None})
    recipe = saved(content, folder)
    assert main(["fit", str(recipe), "--out", str(folder / "out"), "--device", "cpu"]) == 0
    return folder / "out"


def test_predict_reads_sound_from_stdin_as_bytes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, listens: Path, spoken: Path
) -> None:
    sound, rate = soundfile.read(spoken / "fit-0.wav")
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), rate)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((spoken / "fit-0.wav").read_bytes())))
    status, out, told = run(capsys, "predict", listens, tmp_path / "a.wav", "-")
    assert status == 0, told
    assert [line for line in told.splitlines() if "a.wav" in line] == [
        f"note: {tmp_path / 'a.wav'}: 2 channels averaged"
    ]
    first, second = (json.loads(line) for line in out.splitlines())
    assert (first["input"], second["input"]) == (str(tmp_path / "a.wav"), "stdin")
    assert first["scores"] == pytest.approx(second["scores"], abs=1e-4)
    assert predict.EXAMPLE.startswith("hf-stitch predict")


def test_predict_goes_on_after_a_bad_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, listens: Path, spoken: Path
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    good = [spoken / "fit-0.wav", spoken / "fit-1.wav"]
    status, out, told = run(capsys, "predict", listens, good[0], tmp_path / "bad.wav", good[1])
    assert status == 2
    assert [json.loads(line)["input"] for line in out.splitlines()] == [str(path) for path in good]
    assert "bad.wav: not audio" in told


def test_predict_takes_folders(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, listens: Path, stitched: Path, spoken: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts" / "deep").mkdir(parents=True)
    (tmp_path / "texts" / "deep" / "b.TXT").write_text(SENTENCES[1])
    (tmp_path / "texts" / "a.txt").write_text(SENTENCES[0])
    (tmp_path / "texts" / "notes.md").write_text("no text for the model")
    status, out, _ = run(capsys, "predict", listens, spoken)
    sounds = sorted(str(path) for path in spoken.glob("*.wav"))
    assert (status, [json.loads(line)["input"] for line in out.splitlines()]) == (0, sounds)
    status, out, err = run(capsys, "predict", stitched, tmp_path / "empty", tmp_path / "texts")
    assert (status, [json.loads(line)["input"] for line in out.splitlines()]) == (2, list(SENTENCES[:2]))
    assert "empty: no files of text in this folder; expected .csv, .text, .txt" in err


def test_of_many_inputs_the_good_are_answered_and_the_bad_are_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, listens: Path, stitched: Path, spoken: Path
) -> None:
    (tmp_path / "good.txt").write_text(SENTENCES[0])
    (tmp_path / "void").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "broken").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "bytes").write_bytes(bytes(range(256)))
    bad = [tmp_path / name for name in ("nowhere", "void", "folder", "broken", "loop", "bytes", "x" * 300, "void/x")]
    for model, good in ((listens, spoken / "fit-0.wav"), (stitched, tmp_path / "good.txt")):
        words = [good, *(one for path in bad for one in (path, good))]
        status, out, err = run(capsys, "predict", model, *words)
        assert status == 2, err
        assert len(out.splitlines()) == len(bad) + 1
        assert "Traceback" not in err
        assert [path for path in bad if f"{path}: " not in err] == []


def test_short_help_and_no_words_but_the_answers(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, listens: Path, recipe: Path, spoken: Path
) -> None:
    for words in ([], ["recipes"], *([verb] for verb in VERBS), ["recipes", "ls"]):
        assert run(capsys, *words, "-h") == run(capsys, *words, "--help")
    sound, rate = soundfile.read(spoken / "fit-0.wav")
    soundfile.write(tmp_path / "a.wav", np.stack([sound, sound], 1), rate)
    assert "2 channels averaged" in run(capsys, "predict", listens, tmp_path / "a.wav")[2]
    status, out, err = run(capsys, "predict", listens, tmp_path / "a.wav", "--quiet")
    assert (status, len(out.splitlines()), err) == (0, 1, "")
    status, out, err = run(capsys, "fit", recipe, "--out", tmp_path / "out", "-q", "--device", "cpu")
    assert (status, "agreement" in out, err) == (0, True, "")
    status, out, err = run(capsys, "evaluate", tmp_path / "out", "-q", "--device", "cpu")
    assert (status, "agreement" in out, err) == (0, True, "")
    assert "no such file" in run(capsys, "predict", listens, "nowhere.wav", "-q")[2].lower(), "errors are told"


def test_numbers_are_shown_in_columns_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers = tmp_path / "numbers"
    assert run(capsys, "fit", *NUMBERS, "--out", numbers, "--device", "cpu")[0] == 0
    (tmp_path / "x.txt").write_text("0.5")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    head, line = run(capsys, "predict", numbers, tmp_path / "x.txt")[1].splitlines()
    assert head.split() == ["input", "trust", "0"]
    assert re.fullmatch(r"0\.5 +[01]\.\d{4} +-?\d+\.\d{4}", line.strip())


def test_a_file_that_is_no_sound(tmp_path: Path, pico_wav2vec2: Path) -> None:
    """The predictor's own reading, without a stitched model."""
    from hf_stitch.errors import DataError
    from hf_stitch.loading.models import load_model
    from hf_stitch.loading.processors import Preparer
    from hf_stitch.models.predictor import Predictor
    from hf_stitch.recipe.side import Side

    side = Side(model=str(pico_wav2vec2), hook="any")
    predictor = object.__new__(Predictor)
    predictor.preparer = Preparer.for_model(side, load_model(side))
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(DataError, match=r"a\.wav: not audio"):
        list(predictor([tmp_path / "a.wav"]))
    with pytest.raises(DataError, match="stdin: empty"):
        list(predictor([b""]))
    soundfile.write(tmp_path / "b.wav", [0.5] * 100, 16000)
    with pytest.raises(DataError, match="too short"):
        list(predictor([str(tmp_path / "b.wav")]))
