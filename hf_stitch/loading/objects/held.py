"""What stands beside a recipe that names objects in memory, and is handed down with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hf_stitch.loading.objects.given_model import GivenModel

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Objects:
    """Models and rows, each by its name in the recipe (`memory:...`), and what is to be told of them."""

    models: Mapping[str, GivenModel] = field(default_factory=dict)
    data: Mapping[str, Dataset] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


NOTHING = Objects()
