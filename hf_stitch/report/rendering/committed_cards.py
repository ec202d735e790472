"""Renew `model_cards/` and the tables of its README and of the project's from fitted folders, and recipes' methods.

`python -m hf_stitch.report.rendering.committed_cards DIR...`

Every number there comes from a report that `hf-stitch fit` wrote; nothing is typed by hand.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from hf_stitch.recipe.keys import methods_table
from hf_stitch.report.rendering.card import card_for, slim
from hf_stitch.report.rendering.summary import summary_markdown
from hf_stitch.report.report import Report

PAGES = ("README.md", "model_cards/README.md")  # with tables of results
METHODS_PAGE = "recipes/README.md"  # with the table of methods
# Markers are HTML comments, which pages do not show.
METHODS = re.compile(r"(?P<head><!-- methods -->\n).*?(?P<end><!-- end -->)", re.DOTALL)
TABLE = re.compile(
    r"(?P<head><!-- table: (?P<name>[\w/]+)(?:, rows: (?P<rows>.+?))? -->\n).*?(?P<end><!-- end -->)", re.DOTALL
)


def keep(report: Report, cards: Path) -> None:
    """Write the slim report and the card that is made from it, under the recipe's name (`paper/parabola`, ...)."""
    kept = slim(report)
    (cards / report.name).parent.mkdir(parents=True, exist_ok=True)
    kept.save(cards / f"{report.name}.json")
    (cards / f"{report.name}.md").write_text(card_for(kept), encoding="utf-8", newline="\n")


def with_methods(text: str) -> str:
    """A text whose marked table of stitching methods is that of their options classes."""
    return METHODS.sub(lambda found: found["head"] + methods_table() + found["end"], text)


def with_tables(text: str, cards: Path) -> str:
    """A text whose marked tables are those of the kept reports; a marker may name the `rows` that it wants.

    Raises:
        KeyError: the report has no such row.
    """

    def table(found: re.Match[str]) -> str:
        lines = summary_markdown(Report.load(cards / f"{found['name']}.json")).splitlines()
        if found["rows"]:
            rows = {line.split("|")[1].strip(" *\\"): line for line in lines[2:]}
            lines = [*lines[:2], *(rows[name] for name in found["rows"].split(", "))]
        return found["head"] + "\n".join(lines) + "\n" + found["end"]

    return TABLE.sub(table, text)


def main(folders: Sequence[str], root: Path = Path()) -> None:
    """Keep the reports of fitted folders, then renew the tables of all pages."""
    for folder in folders:
        keep(Report.load(Path(folder)), root / "model_cards")
    for page in (root / name for name in (*PAGES, METHODS_PAGE)):
        text = with_methods(page.read_text(encoding="utf-8"))
        page.write_text(with_tables(text, root / "model_cards"), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
