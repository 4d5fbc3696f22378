import json
import shutil
import warnings

import pytest
import torch

from mg3d.text.encoder import EMBEDDED, CachedTextEncoder, TextEncoder, load_text_encoder
from mg3d.text.tokens import tokenize_report

REPORTS = [
    ["no pleural effusion was detected.", "the heart is enlarged."],
    ["a nodule is seen in the right upper lobe.", "heart size is normal.", "lungs are clear."],
    ["normal."],
]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_text_encoder("embedded")


def batch(encoder, reports):
    rows = [tokenize_report(encoder.tokenizer, r, encoder.max_tokens).tokens for r in reports]
    tokens = torch.nn.utils.rnn.pad_sequence(
        rows, batch_first=True, padding_value=encoder.pad_token
    )
    lengths = torch.tensor([len(row) for row in rows])
    return tokens, torch.arange(tokens.shape[1]) >= lengths[:, None]


def test_the_encoder_is_frozen_whatever_train_says(encoder):
    encoder.train()
    assert not any(module.training for module in encoder.modules())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not encoder(*batch(encoder, REPORTS)).hidden.requires_grad


def test_states_are_the_same_each_time(encoder):
    tokens, padding = batch(encoder, REPORTS)
    first, second = encoder(tokens, padding), load_text_encoder("embedded")(tokens, padding)
    assert torch.equal(first.hidden, second.hidden)
    assert torch.equal(first.embedded, second.embedded)


def test_padding_changes_no_state_and_has_none(encoder):
    together = encoder(*batch(encoder, REPORTS))
    _, padding = batch(encoder, REPORTS)
    for row, report in enumerate(REPORTS):
        alone = encoder(*batch(encoder, [report]))
        length = alone.hidden.shape[1]
        torch.testing.assert_close(together.hidden[row, :length], alone.hidden[0])
        torch.testing.assert_close(together.embedded[row, :length], alone.embedded[0])
    assert together.hidden[padding].abs().sum() == 0
    assert together.embedded[padding].abs().sum() == 0


def test_identity_is_the_mean_of_the_sentence_s_own_embedding_layer(encoder):
    sentences = [sentence for report in REPORTS for sentence in report]
    identity = encoder.identity(sentences)
    for row, sentence in enumerate(sentences):
        states = encoder(*batch(encoder, [[sentence]]))
        torch.testing.assert_close(identity[row], states.embedded[0].mean(dim=0))
    assert encoder.identity([]).shape == (0, encoder.width)


def test_embedding_layer_is_token_plus_position_plus_type_normalised(encoder):
    tokens, padding = batch(encoder, [REPORTS[1]])
    layer = encoder.model.embeddings
    summed = (
        layer.word_embeddings.weight[tokens]
        + layer.position_embeddings.weight[: tokens.shape[1]]
        + layer.token_type_embeddings.weight[0]
    )
    torch.testing.assert_close(encoder(tokens, padding).embedded, layer.LayerNorm(summed))


def test_loading_says_nothing_and_draws_no_random_number(capfd):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_text_encoder("embedded")
    assert torch.equal(torch.rand(1), expected)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_special_tokens_are_known(encoder):
    names = encoder.tokenizer.convert_ids_to_tokens(list(encoder.special_tokens))
    assert set(names) == {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert encoder.mask_token in encoder.special_tokens
    assert encoder.vocabulary_size == len(encoder.tokenizer)


def test_any_ascii_text_is_read_without_an_unknown_token(encoder):
    text = "".join(chr(code) for code in range(32, 127)) + " Xylophone-7q!!"
    assert encoder.tokenizer.unk_token_id not in encoder.tokenizer(text)["input_ids"]


def test_the_shipped_encoder_is_small():
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < 3_000_000


def test_a_report_that_is_too_long_is_refused_with_the_way_out(encoder):
    tokens = torch.zeros(1, encoder.max_tokens + 1, dtype=torch.long)
    with pytest.raises(ValueError, match="tokenise with max_tokens=256"):
        encoder(tokens, torch.zeros_like(tokens, dtype=torch.bool))


def test_a_folder_is_loaded_as_the_embedded_one(encoder, tmp_path):
    shutil.copytree(EMBEDDED, tmp_path / "bert")
    loaded = load_text_encoder(tmp_path / "bert")
    tokens, padding = batch(encoder, REPORTS)
    assert torch.equal(loaded(tokens, padding).hidden, encoder(tokens, padding).hidden)
    assert loaded.name == str(tmp_path / "bert")


@pytest.mark.parametrize("family", ["roberta", "distilbert", "electra"])
def test_other_families_of_encoders_can_be_used(encoder, tmp_path, family):
    from transformers import AutoConfig, AutoModel

    sizes = {"vocab_size": encoder.vocabulary_size, "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 16, "embedding_size": 16, "dim": 16,
             "n_heads": 2, "n_layers": 1, "hidden_dim": 16, "pad_token_id": 0}  # fmt: skip
    model = AutoModel.from_config(AutoConfig.for_model(family, **sizes))
    model.save_pretrained(tmp_path)
    encoder.tokenizer.save_pretrained(tmp_path)
    small = load_text_encoder(tmp_path)
    together = small(*batch(small, REPORTS))
    alone = small(*batch(small, REPORTS[2:]))
    torch.testing.assert_close(together.hidden[2, :4], alone.hidden[0, :4])
    assert small.identity(REPORTS[0]).shape == (2, 16)


def test_missing_files_are_refused_with_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config\.json, model\.safetensors"):
        load_text_encoder(tmp_path)
    with pytest.raises(FileNotFoundError, match="give that folder"):
        load_text_encoder("no-such-group/no-such-model")


def test_weights_that_do_not_fill_the_model_are_refused(tmp_path):
    shutil.copytree(EMBEDDED, tmp_path / "bert")
    config = json.loads((tmp_path / "bert/config.json").read_text())
    config["num_hidden_layers"] += 1
    (tmp_path / "bert/config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"tensors are missing.*config\.json belongs"):
        load_text_encoder(tmp_path / "bert")


def test_the_cache_says_what_the_encoder_says(encoder):
    cached = CachedTextEncoder(encoder)
    tokens, padding = batch(encoder, REPORTS)
    plain = encoder(tokens, padding)
    for _ in range(2):
        torch.testing.assert_close(cached(tokens, padding).hidden, plain.hidden)
        assert torch.equal(cached(tokens, padding).embedded, plain.embedded)
        assert torch.equal(cached.identity(REPORTS[0]), encoder.identity(REPORTS[0]))
    assert cached.width == encoder.width
    assert cached.plain is encoder.plain is encoder


def test_a_cached_encoder_stands_wherever_a_text_encoder_is_asked_for(encoder):
    cached = CachedTextEncoder(encoder)
    assert isinstance(cached, TextEncoder)
    assert vars(TextEncoder(encoder.model, encoder.tokenizer, encoder.name)).keys() <= (
        vars(cached).keys()
    )
    tokens, padding = batch(encoder, REPORTS)
    states = cached(tokens, padding, keep_padding=True)
    assert states.hidden[padding].any()
    assert torch.equal(states.hidden, encoder(tokens, padding, keep_padding=True).hidden)
    assert cached.used_bytes == 0
    assert not cached.train().model.training


def test_the_cache_asks_the_encoder_once(encoder, monkeypatch):
    cached = CachedTextEncoder(encoder)
    first = cached(*batch(encoder, REPORTS)).hidden
    monkeypatch.setattr(encoder.model, "forward", None)  # asking again would fail
    again = cached(*batch(encoder, REPORTS[::-1])).hidden
    assert torch.equal(first, again.flip(0))


def test_cached_states_do_not_depend_on_the_batch_they_came_in(encoder):
    tokens, padding = batch(encoder, REPORTS)
    one, other = CachedTextEncoder(encoder), CachedTextEncoder(encoder)
    together = one(tokens, padding).hidden
    alone = torch.cat([other(tokens[i : i + 1], padding[i : i + 1]).hidden for i in range(3)])
    assert torch.equal(together, alone)  # bit by bit


def test_the_cache_forgets_the_longest_unused_beyond_its_size(encoder):
    per_token = encoder.width * 4
    lengths = [len(batch(encoder, [r])[0][0]) for r in REPORTS]
    cached = CachedTextEncoder(encoder, max_bytes=(lengths[0] + lengths[2]) * per_token)
    for row in (0, 2, 0):
        cached(*batch(encoder, [REPORTS[row]]))
    assert cached.used_bytes == (lengths[0] + lengths[2]) * per_token
    cached(*batch(encoder, [REPORTS[2] * 2]))  # a new one: the unused "normal." goes first
    assert cached.used_bytes <= cached.max_bytes
