"""Quirks of the released code, each on its own: what it changes, and what it leaves alone."""

from dataclasses import asdict

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from mg3d.config import Quirks, change
from mg3d.data.batch import collate
from mg3d.model import FEATURES, MG3D, build_model
from mg3d.pretrained.load import load_pretrained
from mg3d.pretrained.released_model import ReleasedMG3D, model_kind
from mg3d.training.patients import load_patients
from mg3d.training.step import Pretraining, build_pretraining, hide


@pytest.fixture
def config(config):
    """A fusion as wide as the encoder, so that volumes can be projected a second time."""
    return change(
        config, dim=config.network.encoder_settings["channels"][-1]
    )  # fits a second projection


@pytest.fixture
def hidden(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    whole = collate(text_encoder.pad_token)([train[row] for row in range(3)])
    return hide(whole, config, text_encoder, torch.Generator().manual_seed(2))


@pytest.fixture
def model(config, text_encoder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(config, text_encoder).eval()


@pytest.fixture
def quirky(config, text_encoder, model):
    """A model with the same weights that follows some quirks."""

    def build(**quirks):
        asked = change(config, quirks=Quirks(**quirks))
        released = build_model(asked, text_encoder, kind=ReleasedMG3D)
        released.load_state_dict(model.state_dict())
        return released.eval()

    return build


def changed(before, after, atol=0.0):
    both = ({n: v for n, v in vars(f).items() if isinstance(v, Tensor)} for f in (before, after))
    before, after = both
    assert before.keys() == after.keys()
    return {n for n in before if not torch.allclose(before[n], after[n], rtol=0, atol=atol)}


def test_without_quirks_the_released_model_is_the_model(model, quirky, hidden):
    assert changed(model(hidden), quirky()(hidden)) == set()


def test_masked_volumes_may_meet_words_in_the_word_fusion(model, quirky, hidden):
    after = quirky(mim_reads_words=True)(hidden)
    assert changed(model(hidden), after) == {"filled_visual_tokens"}
    seen = model.volume_tokens(hidden.volume.masked_fill(hidden.voxel_mask, 0.0))
    words = model.word_tokens(model.text_encoder(hidden.tokens, hidden.padding).hidden)
    filled, _ = model.word_fusion(seen, words, text_padding=hidden.padding)
    torch.testing.assert_close(after.filled_visual_tokens, filled)


def test_volumes_may_be_projected_twice_where_they_meet_sentences(model, quirky, hidden):
    twice = quirky(project_twice=True)
    after = twice(hidden)
    assert changed(model(hidden), after) == {
        *("volume_vector", "fused_volume_vector", "fused_report_vector"),
        *("informed_sentences", "aggregate"),
    }
    again = model.volume_projection(after.visual_tokens) + model.modality.weight[1]
    torch.testing.assert_close(after.volume_vector, model.volume_pooler(again))
    torch.testing.assert_close(twice.embed_volumes(hidden.volume), after.volume_vector)


def test_a_second_projection_that_does_not_fit_is_refused(config, text_encoder):
    config = change(config, dim=24, quirks=Quirks(project_twice=True))
    with pytest.raises(ValueError, match=r"as wide as the fusion, but they are \d+ and 24"):
        build_model(config, text_encoder, kind=ReleasedMG3D)


def test_sentences_may_send_no_gradient_back(model, quirky, hidden):
    cut = quirky(detach_sentences=True)
    assert changed(model(hidden), cut(hidden)) == set()
    for name in ("report_vector", "fused_report_vector", "aggregate"):
        for network, learns in ((cut, False), (model, True)):
            network.zero_grad()
            getattr(network(hidden), name).square().sum().backward()
            gradient = network.text_projection.weight.grad
            assert (gradient is not None and bool(gradient.any())) == learns, name


def test_padding_may_count_in_the_gates_of_words(model, quirky, hidden):
    T = hidden.tokens.shape[1] + 4
    long, longer = (quirky(padded_to=n, mim_reads_words=True)(hidden) for n in (T, T + 4))
    # The volume looks at words, padding among them; words look at that volume in the next layer.
    assert changed(long, longer, atol=1e-6) == {"filled_visual_tokens", "repaired_words"}
    text = model.text_encoder
    states = text.plain(
        pad(hidden.tokens, (0, 4), value=text.pad_token),
        pad(hidden.padding, (0, 4), value=True),
        keep_padding=True,
    )
    assert states.hidden[:, -1].any()
    seen = model.volume_tokens(hidden.volume.masked_fill(hidden.voxel_mask, 0.0))
    filled, _ = model.word_fusion(seen, model.word_tokens(states.hidden))
    torch.testing.assert_close(long.filled_visual_tokens, filled)
    assert long.repaired_words.shape[1] == hidden.tokens.shape[1]


ALL_QUIRKS = Quirks(mim_reads_words=True, project_twice=True, detach_sentences=True, padded_to=8)


@pytest.mark.parametrize("name", FEATURES)
def test_a_feature_is_the_same_whatever_else_is_computed(quirky, hidden, name):
    model = quirky(**asdict(ALL_QUIRKS))
    alone = getattr(model(hidden, needed=[name]), name)
    assert torch.equal(alone, getattr(model(hidden), name))


def test_settings_with_quirks_are_not_built_without_them(config, text_encoder):
    config = change(config, quirks=ALL_QUIRKS)
    for build in (build_model, build_pretraining):
        with pytest.raises(ValueError, match=r"kind=.*released_model\.ReleasedMG3D"):
            build(config, text_encoder)
    assert model_kind(config) is ReleasedMG3D
    assert model_kind(change(config, quirks=Quirks())) is MG3D


def test_a_saved_model_keeps_its_quirks(config, text_encoder, tmp_path):
    config = change(config, quirks=ALL_QUIRKS)
    saved = build_pretraining(config, text_encoder, kind=ReleasedMG3D)
    saved.save_pretrained(tmp_path)
    loaded = load_pretrained(
        tmp_path, part="pretraining", text_encoder=text_encoder, log=lambda _: None
    )
    assert isinstance(loaded.model, ReleasedMG3D) and loaded.model.quirks == ALL_QUIRKS
    with pytest.raises(ValueError, match="ReleasedMG3D"):
        Pretraining.from_pretrained(tmp_path, text_encoder=text_encoder)

    saved.model.save_pretrained(tmp_path / "model")
    again = ReleasedMG3D.from_pretrained(tmp_path / "model", text_encoder=text_encoder)
    assert again.quirks == ALL_QUIRKS
