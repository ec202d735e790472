"""Texts and names from outside on a terminal, in a pipe and in other code pages."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hf_stitch.cli.main import main
from hf_stitch.cli.terminal import console, table
from hf_stitch.runtime.progress_bars import Bars, Lines
from hf_stitch.runtime.visible import json_line, visible

BRACKETS = ["[/red]", "[bold]loud", "a [/] b", "[", "\\[x]", "[link=file:///x]y", ":smile:", "[@click=app.quit]x"]
CODES = {
    "\x1b[31mred": "\\x1b[31mred",
    "\x1b]0;title\x07": "\\x1b]0;title\\x07",
    "\x9b31m": "\\x9b31m",
    "over\rwritten": "over\\rwritten",
    "back\b\b": "back\\x08\\x08",
    "\u202eevil": "\\u202eevil",
    "two\u2028lines": "two\\u2028lines",
    "half \ud800": "half \\ud800",
    "\x00": "\\x00",
}
LETTERS = ["schön", "Ωμέγα", "你好", "😀"]


def program(*words: str, **options: object) -> subprocess.CompletedProcess[bytes]:
    given = {"check": False, "timeout": 60, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, "-m", "hf_stitch", *words], **given)  # type: ignore[call-overload]


@pytest.mark.parametrize("text", [*BRACKETS, *LETTERS])
def test_brackets_and_letters_are_themselves(capsys: pytest.CaptureFixture[str], text: str) -> None:
    shown = table(text)
    shown.add_row(text)
    console().print(text)
    console().print(shown)
    assert capsys.readouterr().out.split("\n")[:3] == [text] * 3
    bars = Bars()
    with bars.stage(text, 1) as advance:
        advance(1)
    bars.note(text)
    assert capsys.readouterr().err.count(text) >= 2


@pytest.mark.parametrize(("text", "spelt"), CODES.items(), ids=[ascii(text) for text in CODES])
def test_codes_are_spelt_out(capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, spelt: str) -> None:
    shown = table(text)
    shown.add_row(text)
    console().print(text)
    console().print(shown)
    for progress in (Lines(), Bars()):
        progress.note(text)
        with progress.stage(text, 1) as advance:
            advance(1)
    assert main(["fit", text]) == 2
    out, err = capsys.readouterr()
    assert out.count(spelt) == 3
    assert err.count(spelt) >= 4
    assert text not in out + err
    assert visible(visible(text)) == spelt
    line = json_line({"input": text}, "utf-8")
    assert json.loads(line) == {"input": text}
    assert line.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "utf-8"])
@pytest.mark.parametrize("text", LETTERS)
def test_any_code_page_takes_any_text(monkeypatch: pytest.MonkeyPatch, encoding: str, text: str) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    assert main(["recipes", "check", "parabola", f"name={text}", f"description={text}"]) == 0
    assert main(["fit", text]) == 2
    console().print(text)
    streams[0].write(json_line([text], encoding))
    for stream in streams:
        stream.seek(0)
    out, err = (stream.read() for stream in streams)
    spelt = text.encode(encoding, "backslashreplace").decode(encoding)
    assert spelt in out
    assert spelt in err
    assert json.loads(out.splitlines()[-1]) == [text]


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["recipes", "ls"], ["recipes", "show", "parabola"]])
def test_a_pipe_that_nobody_reads_is_no_fault(words: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = program(*words, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
