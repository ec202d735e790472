"""What leaves this machine: a saved folder with names in the place of paths.

The folder itself names models and data as they were asked for, so that here it can be evaluated and fitted again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml
from huggingface_hub import ModelCard

from hf_stitch.errors import ArtifactError, RecipeError
from hf_stitch.models.hub.repository import KEPT
from hf_stitch.recipe.names import LOCAL, is_elsewhere, is_path
from hf_stitch.recipe.plain import read_yaml
from hf_stitch.recipe.public import bare, local_names, names_between, told, told_text
from hf_stitch.report.plain_json import part
from hf_stitch.report.rendering.card import UNKNOWN, card_for
from hf_stitch.report.rendering.page import page_for
from hf_stitch.report.report import Report

CARD, PAGE, RECIPE, REPORT, CONFIG = "README.md", "report.html", "recipe.yaml", "report.json", "config.json"
TOOLS = ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json", "generation_config.json")
TOKENS = ("tokenizer.json", "vocab*", "merges.txt", "added_tokens.json", "special_tokens_map.json", "*.index.json")
"""Files of which each text is what a model reads, whatever it looks like."""
TEXTS = (".json", ".yaml", ".md", ".html", ".txt")
PLACES = ("name_or_path", "_file", "_path", "_dir")  # how keys end under which transformers keeps paths


WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


@dataclass(frozen=True)
class PublicCopy:
    """A folder that may be seen by anybody.

    Attributes:
        names: what stands in it for which model or data set of this machine.
    """

    folder: Path
    names: Mapping[str, str]

    @property
    def files(self) -> dict[str, int]:
        """Names and sizes in bytes."""
        there = sorted(path for path in self.folder.rglob("*") if path.is_file())
        return {path.relative_to(self.folder).as_posix(): path.stat().st_size for path in there}

    @property
    def metadata(self) -> dict[str, Any]:
        """The card's metadata."""
        return ModelCard.load(self.folder / CARD, ignore_metadata_errors=True).data.to_dict()


def public_copy(folder: Path, place: Path, repo: str) -> PublicCopy:
    """A copy of a saved folder in the empty folder `place`, as it is to stand in the repository `repo`.

    What needs no change is linked where the file system can; files that no stitched model has are left out.
    """
    config, report = _mapping(folder / CONFIG, json.loads), _mapping(folder / REPORT, json.loads)
    recipe = _mapping(folder / RECIPE, read_yaml)
    names = _names(config, recipe, report)
    here = str(part(report, "environment").get("folder") or "")
    public = {**told(report, names), "environment": {**told(part(report, "environment"), names), "folder": repo}}
    texts: dict[str, Callable[[str], str]] = {
        CONFIG: lambda text: _written(text, config, _without_places(told(config, names)), indent=2),
        RECIPE: lambda text: _written(text, recipe, told(recipe, names)),
        REPORT: lambda text: _written(text, report, public, indent=1),
        CARD: lambda text: _rendered(text, report, public, card_for) or _card(_moved(text, here, repo, names), names),
        PAGE: lambda text: _rendered(text, report, public, page_for) or _moved(text, here, repo, names),
    }
    for path in [one for one in folder.rglob("*") if one.is_file() and any(fnmatch(one.name, kind) for kind in KEPT)]:
        copied = place / path.relative_to(folder)
        copied.parent.mkdir(parents=True, exist_ok=True)
        change = texts.get(path.relative_to(folder).as_posix())
        if change is None and path.suffix in TEXTS and not any(fnmatch(path.name, kind) for kind in TOKENS):
            change = _tool if path.name in TOOLS else lambda text: _foreign(text, names)
        before = path.read_text(encoding="utf-8") if change is not None else ""
        after = change(before) if change is not None else before
        if after == before:
            _linked(path, copied)
        else:
            copied.write_text(after, encoding="utf-8", newline="\n")
    return PublicCopy(place, names)


def _names(config: Mapping[str, Any], recipe: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    """The public names of models and data: as the fit found them, else as this machine has them now."""
    asked = (recipe, part(config, "recipe"))
    kept = {key: value for own in asked for key, value in names_between(own, part(report, "recipe")).items()}
    ends = [part(config, name) for name in ("prefix", "suffix")]
    found = local_names([*asked, part(report, "recipe"), *ends])
    if "stamps" in part(report, "environment"):
        # Written since the fit keeps them: what it took for an id of the Hub is one, whatever lies here now.
        found = {name: public for name, public in found.items() if is_path(name)}
    return found | kept


def _without_places(config: Any) -> Any:
    """A configuration in which no key of transformers holds a path, be it one of another machine."""
    if isinstance(config, Mapping):
        return {key: _place(key, value) or _without_places(value) for key, value in config.items()}
    return [_without_places(value) for value in config] if isinstance(config, list) else config


def _place(key: str, value: Any) -> str | None:
    """What stands for a path under a key that may hold one; None for all else."""
    if not isinstance(value, str) or not key.endswith(PLACES):
        return None
    if WINDOWS.match(value):
        name = PureWindowsPath(value).name
    elif value.startswith("file:/") or is_path(value):
        name = bare(value)
    else:
        return None
    return LOCAL + name if key.endswith("name_or_path") else name


def _tool(text: str) -> str:
    """The settings of a tokenizer or another processor: tokens and templates are left as they are."""
    own = json.loads(text)
    return _written(text, own, _without_places(own), indent=2)


def _foreign(text: str, names: Mapping[str, str]) -> str:
    """A file that somebody laid beside the model."""
    try:
        own = json.loads(text)
    except ValueError:
        return told_text(text, names)
    return _written(text, own, _without_places(told(own, names)), indent=2)


def _written(text: str, own: Any, public: Any, indent: int | None = None) -> str:
    """The public content as JSON, or without `indent` as YAML; the text itself where nothing is changed."""
    if public == own:
        return text
    if indent is None:
        return yaml.safe_dump(public, sort_keys=False, allow_unicode=True, width=120)
    return json.dumps(public, indent=indent, ensure_ascii=False) + "\n"


def _rendered(
    text: str, own: Mapping[str, Any], public: Mapping[str, Any], render: Callable[[Report], str]
) -> str | None:
    """What the public report gives in place of a text that nobody has changed since it was written; else None."""
    try:
        if text == render(Report.from_dict(own)):
            return render(Report.from_dict(public))
    except ArtifactError:  # of another version
        pass
    return None


def _moved(text: str, here: str, repo: str, names: Mapping[str, str]) -> str:
    """A text that somebody has written on, with public names, and in its examples the repository."""
    if here:
        # As the examples name it; a folder may be called like any word of a text.
        words = rf"""(["'`]){re.escape(here)}\1|(hf-stitch (?:predict|evaluate) ){re.escape(here)}(?=\s|$)"""
        text = re.sub(words, lambda found: f"{found[1] or found[2]}{repo}{found[1] or ''}", text)
    return told_text(text, names)


def _card(text: str, names: Mapping[str, str]) -> str:
    """A card whose metadata name no model and no data set that the Hub does not have."""
    card = ModelCard(text, ignore_metadata_errors=True)
    here, changed = {*names, *names.values()}, False
    for key in ("base_model", "datasets"):
        known = card.data.get(key)
        listed = [known] if isinstance(known, str) else list(known or [])
        kept = [one for one in listed if one not in here and not is_elsewhere(str(one))]
        if kept != listed:
            changed = True
            setattr(card.data, key, kept or None)
    for result in card.data.get("eval_results") or []:
        if result.dataset_type in here or is_elsewhere(result.dataset_type):
            result.dataset_type, changed = UNKNOWN, True
    return str(card) if changed else text


def _mapping(path: Path, read: Callable[[str], Any]) -> dict[str, Any]:
    """What a file holds. Raises ArtifactError where that is no mapping."""
    try:
        content = read(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecipeError) as error:
        raise ArtifactError(f"{path} cannot be read ({str(error).splitlines()[0]}); fit it again") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} holds no mapping, as `hf-stitch fit` writes it; fit it again")
    return content


def _linked(path: Path, place: Path) -> None:
    try:
        os.link(path.resolve(), place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, place)
