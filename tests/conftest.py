"""Shared by all tests: no network, a cache of their own, and pico models with random weights saved once a session."""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import random
import shutil
import tempfile
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_EVALUATE_OFFLINE="1")  # before any import of them
os.environ.setdefault("OMP_NUM_THREADS", "1")  # pico models lose more by threads than they gain
os.environ["HF_STITCH_CACHE"] = tempfile.mkdtemp(prefix="hf-stitch-tests-")
atexit.register(shutil.rmtree, os.environ["HF_STITCH_CACHE"], ignore_errors=True)

import pytest  # noqa: E402
from locked import AS_ERRORS, locked  # noqa: E402
from pico_texts import WORDS, _piece_tokenizer, _word_tokenizer  # noqa: E402


def pytest_configure(config: pytest.Config) -> None:
    """New versions may warn of what is still good: an error under the lock, news everywhere else."""
    if locked():
        config.addinivalue_line("filterwarnings", AS_ERRORS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of an extra run where it is installed, those of torchaudio where it loads too."""
    from hf_stitch.runtime.torchaudio_extra import torchaudio

    there = {"datafold": importlib.util.find_spec("datafold") is not None, "torchaudio": bool(torchaudio().module)}
    for item in items:
        for extra in (name for name, found in there.items() if not found and item.get_closest_marker(name)):
            item.add_marker(pytest.mark.skip(reason=f"needs {extra}"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test starts with an empty cache."""
    monkeypatch.setenv("HF_STITCH_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def pico_wav2vec2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Wav2Vec2ForCTC with its processor: 16 kHz, 320 samples a frame, 16 features, 2 layers."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC
    from transformers import Wav2Vec2Processor as Processor

    folder = tmp_path_factory.mktemp("pico-wav2vec2")
    letters = ["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"]
    vocabulary = folder / "letters.json"
    vocabulary.write_text(json.dumps({letter: i for i, letter in enumerate(letters)}))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    Processor(feature_extractor=extractor, tokenizer=Wav2Vec2CTCTokenizer(str(vocabulary))).save_pretrained(folder)
    vocabulary.unlink()
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8, 8), conv_kernel=(320, 4), conv_stride=(160, 2), num_feat_extract_layers=2,
        num_conv_pos_embeddings=8, num_conv_pos_embedding_groups=2, feat_extract_norm="layer",
        do_stable_layer_norm=True, conv_bias=True, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    torch.manual_seed(0)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pico_xlnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny XLNetForSequenceClassification (negative, positive): words, padding left, <sep> <cls> last."""
    import torch
    from transformers import XLNetConfig, XLNetForSequenceClassification

    folder = tmp_path_factory.mktemp("pico-xlnet")
    vocabulary = ["<unk>", "<pad>", "<sep>", "<cls>", *WORDS]
    _word_tokenizer(vocabulary).save_pretrained(folder)
    config = XLNetConfig(
        vocab_size=len(vocabulary), d_model=16, n_layer=2, n_head=2, d_inner=32, pad_token_id=1, dropout=0.0,
        id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
    )  # fmt: skip
    torch.manual_seed(1)
    XLNetForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pico_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny RobertaForSequenceClassification (negative, positive): pieces of words, padding right."""
    import torch
    from transformers import RobertaConfig, RobertaForSequenceClassification

    folder = tmp_path_factory.mktemp("pico-roberta")
    pieces = sorted({piece for word in WORDS for piece in (word[:3], "##" + word[3:]) if piece != "##"})
    vocabulary = ["<s>", "<pad>", "</s>", "<unk>", *pieces]
    _piece_tokenizer(vocabulary).save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=66, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        id2label={0: "negative", 1: "positive"}, label2id={"negative": 0, "positive": 1},
    )  # fmt: skip
    torch.manual_seed(2)
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def pico_listener(tmp_path_factory: pytest.TempPathFactory, pico_wav2vec2: Path) -> Path:
    """Folder of the tiny Wav2Vec2ForCTC with a head that hears the words of `pico_speech`, most of the time."""
    from pico_speech import teach

    folder = tmp_path_factory.mktemp("pico-listener")
    teach(pico_wav2vec2, folder)
    return folder


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of fit.jsonl and test.jsonl: columns audio, text, label, group, id."""
    import soundfile
    from pico_speech import RATE, say, sentences

    folder = tmp_path_factory.mktemp("spoken")
    for split, count in (("fit", 30), ("test", 14)):
        rows = []
        for i, text in enumerate(sentences(count, seed=len(split))):
            name = f"{split}-{i}.wav"
            soundfile.write(folder / name, say(text), RATE)
            rows.append({"audio": name, "text": text, "label": i % 2, "group": "ab"[i % 2], "id": f"{split}{i}"})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of fit.jsonl, validation.jsonl and test.jsonl: columns text, label, group, id."""
    draw, folder = random.Random(0), tmp_path_factory.mktemp("written")
    for split, count in (("fit", 40), ("validation", 12), ("test", 18)):
        rows = []
        for i in range(count):
            text = " ".join(draw.choices(WORDS, k=draw.randint(2, 6)))
            rows.append({"text": text, "label": i % 2, "group": "ab"[i % 2], "id": f"{split}{i}"})
        (folder / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder
