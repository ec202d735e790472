from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pico_texts import SENTENCES

from hf_stitch.errors import ArtifactError, DataError, RecipeError
from hf_stitch.loading.modality import modality
from hf_stitch.loading.models import load_model
from hf_stitch.loading.processors import Preparer
from hf_stitch.loading.token_offsets import offsets, token_count, token_spans, word_offsets, word_tokens
from hf_stitch.recipe.side import Side
from hf_stitch.zoo.networks.registry import register as register_networks
from hf_stitch.zoo.networks.tanh import TanhNetworkConfig, TanhNetworkModel


def prepared(folder: Path) -> Preparer:
    side = Side(model=str(folder), hook="any")
    return Preparer.for_model(side, load_model(side))


def tone(length: int) -> np.ndarray:
    return np.sin(0.3 * np.arange(length, dtype=np.float32))


@pytest.fixture
def speech(pico_wav2vec2: Path) -> Preparer:
    return prepared(pico_wav2vec2)


@pytest.fixture
def words(pico_xlnet: Path) -> Preparer:
    return prepared(pico_xlnet)


@pytest.fixture
def pieces(pico_roberta: Path) -> Preparer:
    return prepared(pico_roberta)


def test_modalities() -> None:
    from transformers import AutoConfig, SpeechEncoderDecoderConfig, WhisperConfig

    kinds = {"wav2vec2": "audio", "hubert": "audio", "whisper": "audio", "xlnet": "text", "vit": "image", "t5": "text"}
    for name, kind in kinds.items():
        assert modality(AutoConfig.for_model(name)) == kind
    register_networks()
    assert modality(TanhNetworkConfig()) == "vector"
    assert modality(TanhNetworkModel(TanhNetworkConfig())) == "vector"
    both = SpeechEncoderDecoderConfig.from_encoder_decoder_configs(AutoConfig.for_model("wav2vec2"), WhisperConfig())
    assert modality(both) == "audio"


def test_audio_batches_have_a_mask_and_one_frame_is_the_minimum(speech: Preparer, pico_wav2vec2: Path) -> None:
    batch = speech.batch([tone(900), tone(2000)])
    assert {key: (value.shape, value.dtype) for key, value in batch.items()} == {
        "input_values": ((2, 2000), torch.float32),
        "attention_mask": ((2, 2000), torch.int64),
    }
    assert batch["attention_mask"].sum(1).tolist() == [900, 2000]
    assert speech.rate == 16000
    assert speech.length(tone(900)) == 900
    assert speech.minimum == 3 * 160 + 320
    model = load_model(Side(model=str(pico_wav2vec2), hook="any"))
    assert model._get_feat_extract_output_lengths(speech.minimum) == 1
    assert model._get_feat_extract_output_lengths(speech.minimum - 1) < 1
    assert speech.tokenizer.word_delimiter_token == "|"


def test_a_padded_sample_is_normalised_as_if_alone(speech: Preparer) -> None:
    alone = speech.batch([tone(900)])["input_values"][0]
    padded = speech.batch([tone(900), tone(2000)])["input_values"][0]
    assert torch.allclose(padded[:900], alone)
    assert not padded[900:].any()


def test_texts_are_padded_on_their_own_side_without_token_types(words: Preparer, pieces: Preparer) -> None:
    for preparer, real in ((words, slice(-4, None)), (pieces, slice(0, 6))):
        batch = preparer.batch(["this film", "it was not so bad"])
        assert set(batch) == {"input_ids", "attention_mask"}
        assert batch["attention_mask"][0][real].all()
        assert int(batch["attention_mask"][0].sum()) == preparer.length("this film")
        assert preparer.tokenizer is preparer.tool


def test_long_texts_are_cut_where_tokenizer_and_positions_end(pieces: Preparer) -> None:
    assert pieces.max_length == 64, "RoBERTa's 66 positions start behind the padding id, 1"
    assert pieces.batch(["film " * 100])["input_ids"].shape == (1, 64)


def test_vectors_are_stacked_in_the_models_dtype() -> None:
    model = TanhNetworkModel(TanhNetworkConfig([2, 3, 1])).double()
    preparer = Preparer.for_model(Side(model="unused", hook="any"), model)
    batch = preparer.batch([np.array([1.0, 2.0]), [3, 4]])
    assert batch["inputs"].dtype == torch.float64
    assert batch["inputs"].tolist() == [[1, 2], [3, 4]]
    assert preparer.batch([0.5])["inputs"].tolist() == [[0.5]]
    assert preparer.length([1, 2]) == 1
    with pytest.raises(DataError, match="one width"):
        preparer.batch([[1.0], [1.0, 2.0]])
    with pytest.raises(RecipeError, match="no sampling rate"):
        _ = preparer.rate


@pytest.mark.parametrize("fixture", ["speech", "words"])
def test_an_empty_batch_is_refused(fixture: str, request: pytest.FixtureRequest) -> None:
    with pytest.raises(DataError, match="at least one"):
        request.getfixturevalue(fixture).batch([])


def test_spans_point_at_the_tokens_of_the_same_characters(words: Preparer, pieces: Preparer) -> None:
    for source, target in ((words, pieces), (pieces, words), (words, words)):
        joint = source.with_target_tokenizer(target.tokenizer)
        batch = joint.batch(SENTENCES)
        theirs = target.batch(SENTENCES)
        spans = batch["target_spans"]
        assert spans.dtype == torch.int64
        assert spans.shape == (*theirs["input_ids"].shape, 2)
        assert ((spans[..., 0] == -2) == (theirs["attention_mask"] == 0)).all()
        for i in range(len(SENTENCES)):
            _check_spans(source, target, batch, theirs, i)


def _check_spans(source: Preparer, target: Preparer, batch: dict, theirs: dict, i: int) -> None:
    special = set(target.tokenizer.all_special_ids)
    first = int(batch["attention_mask"][i].argmax())
    for token, (start, end) in zip(theirs["input_ids"][i].tolist(), batch["target_spans"][i].tolist()):
        if start == -2:
            assert end == -2
        elif token in special:
            assert (start, end) == (-1, token)
        else:
            ids = batch["input_ids"][i, first + start : first + end]
            assert batch["attention_mask"][i, first + start : first + end].all()
            heard = "".join(source.tokenizer.convert_ids_to_tokens(ids)).replace("##", "")
            wanted = target.tokenizer.convert_ids_to_tokens(token).replace("##", "")
            assert wanted in heard or heard in wanted


def test_token_spans_by_hand() -> None:
    source = [None, (0, 3), (3, 5), (6, 9), None]
    assert token_spans(source, [None, (0, 5), (2, 4), (6, 7), (5, 6)]) == [None, (1, 3), (1, 3), (3, 4), (2, 3)]
    assert token_spans(source, [(20, 25)]) == [(3, 4)], "what was cut off goes to the nearest token"
    assert token_spans([None], [(0, 1)]) == [(1, 1)]


def test_words_and_their_tokens(pieces: Preparer) -> None:
    text = "  this was\tboring "
    assert [text[slice(*place)] for place in word_offsets(text)] == ["this", "was", "boring"]
    assert word_tokens(pieces.tokenizer, text) == [[1, 2], [3], [4, 5]]
    assert word_tokens(pieces.tokenizer, text, max_length=4) == [[1, 2], [], []]
    assert word_tokens(pieces.tokenizer, "") == []


def test_blanks_are_no_part_of_a_token() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({"<unk>": 0, "▁good": 1, "▁film": 2}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    assert offsets(tokenizer, ["good film"]) == [[(0, 4), (5, 9)]]


def test_slow_tokenizers_are_refused_by_name(speech: Preparer) -> None:
    with pytest.raises(RecipeError, match="Wav2Vec2CTCTokenizer knows no character offsets"):
        offsets(speech.tokenizer, ["good"])


def test_save_and_load_give_the_same_batches(
    tmp_path: Path, speech: Preparer, words: Preparer, pieces: Preparer
) -> None:
    for i, (preparer, raws) in enumerate(
        ((speech, [tone(900), tone(2000)]), (words, SENTENCES), (pieces.with_target_tokenizer(words.tool), SENTENCES))
    ):
        folder = tmp_path / str(i)
        preparer.save(folder)
        config = load_model(Side(model=preparer.tool.name_or_path, hook="any")).config if i else _audio_config()
        if preparer.target_tokenizer is not None:
            config.sequence = {"length": "spans"}  # of other rules' models the target's tokenizer is not read
        again = Preparer.load(folder, config)
        for name in ("minimum", "max_length", "label2id", "input_name", "modality"):
            assert getattr(again, name) == getattr(preparer, name)
        before, after = preparer.batch(raws), again.batch(raws)
        assert set(before) == set(after)
        assert all(torch.equal(before[key], after[key]) for key in before)


def _audio_config():
    from transformers import Wav2Vec2Config

    return Wav2Vec2Config(conv_dim=(8, 8), conv_kernel=(320, 4), conv_stride=(160, 2))


def test_the_saved_extractor_answers_as_processor_of_the_folder(tmp_path: Path, speech: Preparer) -> None:
    from transformers import AutoFeatureExtractor

    speech.save(tmp_path)
    _audio_config().save_pretrained(tmp_path)
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path)
    assert extractor.sampling_rate == 16000
    assert "processor_class" not in extractor.to_dict()


def test_a_folder_without_tokenizer_is_explained(tmp_path: Path, pico_roberta: Path) -> None:
    model = load_model(Side(model=str(pico_roberta), hook="any"))
    model.save_pretrained(tmp_path)
    with pytest.raises(ArtifactError, match="no tokenizer for this text model") as caught:
        Preparer.for_model(Side(model=str(tmp_path), hook="any"), model)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_without_padding_takes_the_end_token(tmp_path: Path, words: Preparer, pico_xlnet: Path) -> None:
    words.tokenizer.pad_token = None
    words.tokenizer.eos_token = "<sep>"
    words.tokenizer.save_pretrained(tmp_path)
    load_model(Side(model=str(pico_xlnet), hook="any")).save_pretrained(tmp_path)
    assert prepared(tmp_path).batch(["this film", "it"])["attention_mask"].tolist() == [[1, 1, 1, 1], [0, 1, 1, 1]]


class Counting:
    """A tokenizer of words, which knows how many texts it was given."""

    def __init__(self, known: int) -> None:
        self.known, self.calls = known, 0

    def __len__(self) -> int:
        return self.known

    def __call__(self, text: str) -> dict[str, list[int]]:
        self.calls += 1
        return {"input_ids": [0] * (text.count(" ") + self.known)}


def test_a_long_text_is_counted_once() -> None:
    one, other = Counting(1), Counting(2)
    long, short = "word " * 40_000, "a word"
    assert [token_count(one, long), token_count(other, long), token_count(one, long)] == [40_001, 40_002, 40_001]
    assert (one.calls, other.calls) == (1, 1)
    assert [token_count(one, long + "and"), token_count(one, short), token_count(one, short)] == [40_001, 2, 2]
    one.known = 3  # tokens were added to it
    assert token_count(one, long + "and") == 40_003
