"""What is saved beside a stitched model: what prepares its inputs, spells its answers, and tells of its fit."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hf_stitch.activations.hooked_model import HookedModel
from hf_stitch.errors import ArtifactError
from hf_stitch.loading.processors import TARGET_FOLDER, Preparer, target_tokenizer
from hf_stitch.loading.quiet import quiet
from hf_stitch.loading.token_offsets import save_tokenizer
from hf_stitch.models.files_digest import check_whole
from hf_stitch.models.hub.repository import local
from hf_stitch.models.tasks import spells
from hf_stitch.recipe.recipe import Recipe
from hf_stitch.report.report import Report
from hf_stitch.runtime.files import write_text

RECIPE = "recipe.yaml"


@dataclass(frozen=True)
class Companions:
    """Of a model that was put together in memory.

    Attributes:
        preparer: of the source's inputs. speller: the target's tokenizer, where the model writes. tokenizer: of a
            source that recognises speech. recipe, report: of the fit; None of a model that was not fitted.
    """

    preparer: Preparer
    speller: Any = None
    tokenizer: Any = None
    recipe: Recipe | None = None
    report: Report | None = None

    @classmethod
    def of(cls, model: Any, source: HookedModel, target: HookedModel) -> Companions:
        """Those of a stitched model of these two."""
        preparer = model.rule.preparer(source, target)
        if spells(model.config) and target.tokenizer is not None:
            return cls(preparer, speller=target.tokenizer)
        heard = source.preparer.modality == "audio"
        return cls(preparer, tokenizer=source.tokenizer if heard else None)

    def write_pages(self, folder: Path) -> None:
        """Write what a fit tells beside the model: recipe, report, page and card."""
        from hf_stitch.report.rendering.write_report import write_report

        if self.recipe is not None and self.report is not None:
            write_text(folder / RECIPE, self.recipe.dump())
            write_report(replace(self.report, environment={**self.report.environment, **in_folder(folder)}), folder)

    def save(self, folder: Path) -> None:
        """Write the processors into the folder of the model."""
        self.preparer.save(folder)
        if self.speller is not None:
            self._save_speller(folder)
        elif self.tokenizer is not None:
            save_tokenizer(self.tokenizer, folder)

    def _save_speller(self, folder: Path) -> None:
        """For transformers' speech pipeline also as the tokenizer of the model."""
        tokenizer = copy.deepcopy(self.speller)
        save_tokenizer(tokenizer, folder / TARGET_FOLDER)
        if self.preparer.modality == "audio":
            tokenizer.padding_side = self.preparer.tool.padding_side  # the pipeline wants one side of both
            save_tokenizer(tokenizer, folder)


def tools_beside(model: Any) -> tuple[Preparer, Any]:
    """What prepares the raw inputs of a model, and the target's tokenizer if it is saved. See `folder_beside`."""
    with folder_beside(model) as folder:
        config = type(model.config).from_pretrained(folder)  # as saved: in memory entries have other types
        return Preparer.load(folder, config).for_width_of(model.prefix), target_tokenizer(folder)


@contextmanager
def folder_beside(model: Any) -> Iterator[Path]:
    """A folder with what lies beside a model: that from which it was loaded, else a temporary one.

    Raises:
        ArtifactError: it was loaded from nowhere and nothing prepares its inputs. HubError: the Hub does not give it.
    """
    held: Companions | None = model.companions
    if held is None and model.name_or_path:
        folder = local(model.name_or_path, getattr(model.config, "_commit_hash", None), weights=False)
        check_whole(folder)
        yield folder
        return
    if held is None or (held.preparer.tool is None and held.preparer.modality != "vector"):
        kind = "inputs" if held is None else held.preparer.modality
        raise ArtifactError(
            f"nothing is known that prepares the {kind} of this stitched model: load it by "
            "StitchedModel.from_pretrained(DIR), or give source_processor where it is made"
        )
    with TemporaryDirectory() as scratch, quiet():
        # By files as everyone gets it: what is not saved is not there for others either.
        model.config.save_pretrained(scratch)
        held.save(Path(scratch))
        yield Path(scratch)


def in_folder(folder: Path) -> dict[str, str]:
    """What a folder is called in the examples of page and card: from where one is, if it lies below, else its name."""
    place = Path(os.path.abspath(folder))
    told = (place.relative_to(Path.cwd()) if Path.cwd() in place.parents else Path(place.name)).as_posix()
    return {"folder": told}
