"""What a name in a recipe is: of the zoo, a path, or the Hub's."""

from pathlib import Path

import pytest

from hf_stitch.recipe.names import is_local, is_path, is_shipped, without_zoo


@pytest.mark.parametrize("name", ["zoo:opinions", "./model", "/model", "~/model", "../model", "a/b/c"])
def test_local_names(name: str) -> None:
    assert is_local(name)
    assert is_path(name) == (not is_shipped(name))


@pytest.mark.parametrize("name", ["bert-base-uncased", "facebook/wav2vec2-base", "zoology/zoo"])
def test_names_of_the_hub(name: str) -> None:
    assert [is_local(name), is_path(name), is_shipped(name)] == [False] * 3


def test_what_is_there_is_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not is_local("bert/base")
    Path("bert/base").mkdir(parents=True)
    assert is_local("bert/base")
    assert not is_path("bert/base")


def test_the_prefix_is_optional() -> None:
    assert without_zoo("zoo:opinions") == without_zoo("opinions") == "opinions"
