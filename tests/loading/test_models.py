from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, Wav2Vec2ForXVector

from hf_stitch.errors import ArtifactError, RecipeError, StitchError, ZooError
from hf_stitch.loading import provenance as origin
from hf_stitch.loading.model_classes import class_named
from hf_stitch.loading.models import load_model, resolve
from hf_stitch.loading.provenance import commit_of, fingerprint_of
from hf_stitch.recipe.side import Side
from hf_stitch.runtime.device import pick_device, pick_dtype


def side(model: Path | str, **more: str) -> Side:
    return Side.model_validate({"model": str(model), "hook": "any", **more})


@pytest.fixture
def copied(pico_roberta: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pico_roberta, tmp_path / "model"))


def test_the_class_comes_from_the_config_or_from_the_recipe(pico_roberta: Path, pico_wav2vec2: Path) -> None:
    model = load_model(side(pico_roberta))
    assert type(model).__name__ == "RobertaForSequenceClassification"
    assert not model.training
    assert type(load_model(side(pico_wav2vec2))).__name__ == "Wav2Vec2ForCTC"
    inner = load_model(side(pico_wav2vec2, **{"class": "Wav2Vec2Model"}), dtype="bfloat16", device="cpu")
    assert type(inner).__name__ == "Wav2Vec2Model"
    assert inner.dtype == torch.bfloat16


def test_networks_of_the_zoo_load_from_any_folder(tmp_path: Path) -> None:
    from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel

    TanhNetworkModel(TanhNetworkConfig([2, 3, 1])).save_pretrained(tmp_path)
    assert isinstance(load_model(side(tmp_path)), TanhNetworkModel)
    assert class_named("TanhNetworkModel") is TanhNetworkModel


def test_weights_that_the_checkpoint_lacks_are_an_error(pico_roberta: Path) -> None:
    with pytest.raises(ArtifactError, match=r"would be random.*lm_head.*RobertaForSequenceClassification"):
        load_model(side(pico_roberta, **{"class": "RobertaForMaskedLM"}))


def test_weights_that_only_training_uses_may_be_missing(pico_wav2vec2: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(pico_wav2vec2, tmp_path / "model"))
    weights = load_file(folder / "model.safetensors")
    del weights["wav2vec2.masked_spec_embed"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert load_model(side(folder)).wav2vec2.masked_spec_embed.shape == (16,)


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_only(folder: Path) -> None:
    without_weights(folder)
    torch.save({}, folder / "pytorch_model.bin")


def set_config(**changes: object):
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def without_config(folder: Path) -> None:
    (folder / "config.json").unlink()


SPOILT = [
    (truncated, ArtifactError, "truncated"),
    (without_weights, ArtifactError, "no weights in safetensors"),
    (pickled_only, ArtifactError, "no weights in safetensors"),
    (set_config(hidden_size=32), ArtifactError, "differ in shape"),
    (set_config(model_type="robertta"), RecipeError, "no model type"),
    (broken_config, ArtifactError, "not JSON"),
    (without_config, RecipeError, "no config.json"),
]


@pytest.mark.parametrize(("spoil", "kind", "message"), SPOILT)
def test_spoilt_folders_are_explained_in_one_line(copied: Path, spoil, kind: type, message: str) -> None:
    spoil(copied)
    with pytest.raises(kind, match=message) as caught:
        load_model(side(copied))
    assert "\n" not in str(caught.value)
    assert str(copied) in str(caught.value)


NAMES = {
    "nobody/nothing": "neither a local folder nor a Hub model.*HF_HUB_OFFLINE",
    "./nothing": "no such folder",
    "/nowhere/at/all": "no such folder",
    "zoo:nothing": "the zoo has no model",
}


@pytest.mark.parametrize(("name", "message"), NAMES.items())
def test_unknown_names_say_what_to_do(name: str, message: str) -> None:
    with pytest.raises(StitchError, match=message):
        load_model(side(name, revision="main"))


def test_a_misspelt_class_names_the_nearest(pico_roberta: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean 'RobertaForSequenceClassification'"):
        load_model(side(pico_roberta, **{"class": "RobertaForSequenceClasification"}))
    with pytest.raises(RecipeError, match="no such model class"):
        class_named("pipeline")


@pytest.mark.parametrize(
    "name",
    ["BertModel", "GPT2LMHeadModel", "XLNetModel", "CLIPModel", "WhisperForConditionalGeneration", "ResNetModel",
     "T5ForConditionalGeneration", "VisionEncoderDecoderModel", "Speech2Text2ForCausalLM", "TanhNetworkModel"],
)  # fmt: skip
def test_a_class_of_another_family_is_told(pico_wav2vec2: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=rf"'{name}' takes a \w+Config, .* has a Wav2Vec2Config; .*Wav2Vec2ForCTC$"):
        load_model(side(pico_wav2vec2, **{"class": name}))


@pytest.mark.parametrize("name", ["BertConfig", "AutoTokenizer", "BertTokenizer", "GenerationConfig", "PeftModel"])
def test_a_class_that_makes_no_model_is_told(pico_wav2vec2: Path, name: str) -> None:
    with pytest.raises(RecipeError, match=f"class '{name}': no such model class"):
        load_model(side(pico_wav2vec2, **{"class": name}))


def test_an_abstract_class_is_told(pico_wav2vec2: Path) -> None:
    with pytest.raises(RecipeError, match="'PreTrainedModel' is of no family"):
        load_model(side(pico_wav2vec2, **{"class": "PreTrainedModel"}))
    load_model(side(pico_wav2vec2))
    # Of this family, and built for the first time: nothing was left at the class that all inherit from.
    Wav2Vec2ForXVector(AutoConfig.from_pretrained(pico_wav2vec2))


def test_devices_and_dtypes_are_checked() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device().type in ("cpu", "cuda", "mps")
    for wrong in ("cpuu", "cuda:99"):
        with pytest.raises(RecipeError, match="not available"):
            pick_device(wrong)
    assert pick_dtype(None) is None
    assert pick_dtype(torch.float64) == pick_dtype("float64") == torch.float64
    with pytest.raises(RecipeError, match="did you mean 'float32'"):
        pick_dtype("floot32")


def test_resolve_leaves_hub_ids_and_finds_folders(pico_roberta: Path) -> None:
    assert resolve("org/name") == "org/name"
    assert resolve(str(pico_roberta)) == str(pico_roberta)
    with pytest.raises(ZooError):
        resolve("zoo:")


def test_the_fingerprint_follows_the_files(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp = fingerprint_of(side(copied))
    assert fingerprint_of(side(copied)) == stamp
    elsewhere = Path(shutil.copytree(copied, copied.parent / "other"))
    assert fingerprint_of(side(elsewhere)) == stamp, "the folder's own name does not matter"
    path = elsewhere / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert fingerprint_of(side(elsewhere)) != stamp
    assert fingerprint_of(side(copied, **{"class": "RobertaModel"})) != stamp
    monkeypatch.setattr(origin, "HASHED_WHOLE", 1)
    assert fingerprint_of(side(copied)) != fingerprint_of(side(elsewhere)), "time and header tell large files apart"


def test_hub_ids_are_stamped_by_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    unknown = fingerprint_of(side("org/name"))
    assert commit_of(side("org/name")) is None
    assert fingerprint_of(side("org/name", revision="v2")) != unknown
    cached = tmp_path / "snapshots" / "abc123" / "config.json"
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **more: str(cached))
    assert commit_of(side("org/name")) == "abc123"
    assert fingerprint_of(side("org/name")) != unknown


def test_folders_have_no_commit(pico_roberta: Path) -> None:
    assert commit_of(side(pico_roberta)) is None


def names_pickle(index: str = "model.safetensors.index.json", shard: str = "x.bin", single: bool = False, **config):
    """A folder whose index names a pickle that could be loaded, so that only a refusal before keeps it from that."""

    def apply(folder: Path) -> None:
        from safetensors.torch import load_file

        weights = load_file(folder / "model.safetensors")
        if not single:
            without_weights(folder)
        (folder / shard).resolve().parent.mkdir(parents=True, exist_ok=True)
        torch.save(weights, folder / shard)
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, shard)}))
        set_config(**config)(folder)

    return apply


def names_one_pickle(folder: Path) -> None:
    names_pickle()(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"] = dict.fromkeys(index["weight_map"], "a.safetensors") | {"last": "x.bin"}
    path.write_text(json.dumps(index))


def odd_index(content: str):
    def apply(folder: Path) -> None:
        without_weights(folder)
        (folder / "model.safetensors.index.json").write_text(content)

    return apply


PICKLED = {
    "index": (names_pickle(), "never loaded"),
    "one of many": (names_one_pickle, "never loaded"),
    "another ending": (names_pickle(shard="x.safetensors.pt"), "never loaded"),
    "no ending": (names_pickle(shard="weights"), "never loaded"),
    "capitals": (names_pickle(shard="x.SAFETENSORS"), "never loaded"),
    "below": (names_pickle(shard="deep/x.bin"), "never loaded"),
    "elsewhere": (names_pickle(shard="../x.safetensors"), "other folders"),
    "chosen by config.json": (
        names_pickle("my.safetensors.index.json", single=True, transformers_weights="my.safetensors.index.json"),
        "never loaded",
    ),
    "chosen adapter": (
        names_pickle("adapter", "adapter_model.bin", single=True, transformers_weights="adapter_model.bin"),
        "never loaded",
    ),
    "index of pickles": (names_pickle("pytorch_model.bin.index.json"), "never loaded"),
    "index of pickles that are not": (names_pickle("pytorch_model.bin.index.json", "x.safetensors"), "never loaded"),
    "no JSON": (odd_index("{"), "damaged"),
    "a list": (odd_index("[]"), "damaged"),
    "numbers": (odd_index('{"metadata": {}, "weight_map": {"a": 1}}'), "damaged"),
    "no metadata": (odd_index('{"weight_map": {"a": "a.safetensors"}}'), "damaged"),
    "a text": (odd_index('{"metadata": {}, "weight_map": "x.bin"}'), "damaged"),
}


@pytest.mark.parametrize("case", PICKLED)
def test_what_an_index_names_is_never_unpickled(copied: Path, case: str) -> None:
    spoil, message = PICKLED[case]
    spoil(copied)
    with pytest.raises(ArtifactError, match=message) as caught:
        load_model(side(copied))
    assert "\n" not in str(caught.value)


def test_an_index_beside_whole_weights_is_not_read(copied: Path) -> None:
    names_pickle(single=True)(copied)
    assert type(load_model(side(copied))).__name__ == "RobertaForSequenceClassification"


def test_shards_in_safetensors_load(copied: Path) -> None:
    model = load_model(side(copied))
    without_weights(copied)
    model.save_pretrained(copied, max_shard_size="4KB")
    assert (copied / "model.safetensors.index.json").is_file()
    assert all(one.equal(two) for one, two in zip(load_model(side(copied)).parameters(), model.parameters()))
