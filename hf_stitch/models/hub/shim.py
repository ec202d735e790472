"""The few lines of code beside saved weights, for people who load them without hf_stitch.

transformers runs them only for those who say that they trust remote code, and then names the package that is missing.
Where hf_stitch is imported its own classes are used, and no code of the folder is run.
"""

from __future__ import annotations

from pathlib import Path

FILE = "modeling_hf_stitch.py"
TEXT = '''"""The code of this model is the package hf_stitch: `pip install hf_stitch`, then `import hf_stitch`."""

from hf_stitch import StitchedConfig, StitchedModel

__all__ = ["StitchedConfig", "StitchedModel"]
'''


def auto_map(auto_classes: tuple[str, ...]) -> dict[str, str]:
    """The entry `auto_map` of config.json."""
    module = FILE.removesuffix(".py")
    return {"AutoConfig": f"{module}.StitchedConfig", **dict.fromkeys(auto_classes, f"{module}.StitchedModel")}


def write_shim(folder: Path) -> None:
    (folder / FILE).write_text(TEXT, encoding="utf-8", newline="\n")
