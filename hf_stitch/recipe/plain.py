"""Plain data from YAML or from Python, before any key of it is looked at: whatever it holds, reading it ends.

YAML lets a few lines stand for gigabytes (anchors of anchors), hold themselves, and give a key twice, of which a reader
sees both and a program only the last. All of that is refused here, with the line where YAML knows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from hf_stitch.errors import RecipeError

# By hand: recipes have 6 levels, and the configurations in `rehearse` some more; Python stops near 1000.
DEEPEST = 40
TOO_DEEP = f"more than {DEEPEST} levels of lists and mappings; expected about 6: check brackets and indentation"
# By hand: the shipped recipes repeat some 50 values, and repr, YAML and pydantic are quick with so many.
MOST_REPEATED = 100_000
BITS = 1024  # of the largest float
MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str) -> Any:
    """The content of a YAML document.

    Raises:
        RecipeError: no YAML, a key given twice, anchors that hold themselves or stand for too much, or too many levels.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise RecipeError(f"this is not YAML: {line}{error.problem}; check indentation and quotes") from None
    except yaml.YAMLError as error:
        raise RecipeError(f"this is not YAML: {str(error).splitlines()[0]}; save it as text in UTF-8") from None
    # What PyYAML's constructors raise of `!!int x`, `!!timestamp x` and numbers with thousands of digits.
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise RecipeError(f"a value cannot be read as YAML ({str(error)[:200]}); quote it as text") from None


def check_plain(content: Any) -> None:
    """RecipeError where data hold themselves, have too many levels, or hold what neither file nor model can take."""
    _survey(content, _inside)


def _survey(root: Any, inside: Callable[[Any], Sequence[Any]]) -> None:
    """Walk a tree, each shared part once.

    Raises:
        RecipeError: a part that holds itself, more than `DEEPEST` levels, more than `MOST_REPEATED` values by sharing.
    """
    sizes: dict[int, int] = {}  # with the shared parts as often as they occur
    path: set[int] = set()
    alive: list[Any] = []  # ids are of values that live
    written = 0

    def size(value: Any, level: int) -> int:
        nonlocal written
        if id(value) in path:
            raise RecipeError("an anchor stands inside of what it names, so that this holds itself; write it out")
        if id(value) in sizes:
            return sizes[id(value)]
        if level > DEEPEST:
            raise RecipeError(TOO_DEEP)
        parts = inside(value)
        if not parts:
            return 1
        path.add(id(value))
        alive.append(value)
        written += 1 + len(parts)
        sizes[id(value)] = found = 1 + sum(size(one, level + 1) for one in parts)
        path.discard(id(value))
        return found

    found = size(root, 0)
    if found > written + MOST_REPEATED:
        raise RecipeError(f"anchors repeat {found} values; expected at most {MOST_REPEATED}: write fewer of them")


def _inside(value: Any) -> Sequence[Any]:
    if isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        # As a path or a Hub id it would end later, in an error that names no key.
        raise RecipeError(f"{ascii(value)[:80]} has a character that no name and no file can hold; leave it out")
    if isinstance(value, int) and value.bit_length() > BITS:
        raise RecipeError(f"a number has {value.bit_length()} bits; expected one that a float can hold")
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    return list(value) if isinstance(value, list | tuple | set | frozenset) else ()


def _inside_node(node: yaml.Node) -> Sequence[yaml.Node]:
    """The parts of a piece of YAML, of which none may be given twice under one key."""
    if isinstance(node, yaml.SequenceNode):
        return node.value
    if not isinstance(node, yaml.MappingNode):
        return ()
    first: dict[tuple[str, str], yaml.Node] = {}
    for key, _ in node.value:
        # `<<` brings keys that may be given again, which is what it is for.
        if isinstance(key, yaml.ScalarNode) and key.tag != MERGE:
            before = first.setdefault((key.tag, key.value), key)
            if before is not key:
                lines = f"in lines {before.start_mark.line + 1} and {key.start_mark.line + 1}"
                raise RecipeError(f"key {key.value[:80]!r} is given twice, {lines}; leave one out")
    return [part for pair in node.value for part in pair]


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, which looks at a document before anything is made of it, and takes dates for text."""

    levels = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.levels += 1
        if self.levels > DEEPEST:
            raise RecipeError(TOO_DEEP)
        node = super().compose_node(parent, index)
        self.levels -= 1
        return node

    def get_single_data(self) -> Any:
        node = self.get_single_node()
        if node is None:
            return None
        _survey(node, _inside_node)  # before anything is made: merging `<<` copies
        return self.construct_document(node)


# A recipe has no dates: a name such as 2026-02-30 is one.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
