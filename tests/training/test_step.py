import pytest
import torch

from mg3d.config import LossWeights, replace
from mg3d.data.dataset import collate
from mg3d.objectives import OBJECTIVES
from mg3d.objectives.clip import CLIP
from mg3d.objectives.mim import MIM
from mg3d.training.loop import load_patients
from mg3d.training.step import build_pretraining, hide, weigh


@pytest.fixture
def batch(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    return collate(text_encoder.pad_token)([train[row] for row in range(3)])


def numbers(seed=5):
    return torch.Generator().manual_seed(seed)


def test_the_total_by_hand():
    terms = {"mim": torch.tensor(2.0), "clip": torch.tensor(3.0)}
    assert weigh(terms, {"mim": 0.5, "ssm": 9.0, "clip": 10.0}) == 0.5 * 2 + 10 * 3


def test_every_active_objective_gives_its_own_loss(config, batch, text_encoder):
    pretraining = build_pretraining(config, text_encoder)
    assert list(pretraining.objectives) == list(OBJECTIVES)
    hidden = hide(batch, config, text_encoder, numbers())
    terms = pretraining(hidden)
    features = pretraining.model(hidden)
    assert list(terms) == list(OBJECTIVES)
    for name, term in terms.items():
        torch.testing.assert_close(term, pretraining.objectives[name](features, hidden))


def test_ssm_is_left_out_of_a_batch_of_one_and_nothing_else_is(config, batch, text_encoder):
    pretraining = build_pretraining(config, text_encoder)
    alone = hide(batch.part(0, 1), config, text_encoder, numbers())
    assert set(OBJECTIVES) - set(pretraining(alone)) == {"ssm"}


@pytest.mark.parametrize(
    ("names", "voxels", "words"),
    [
        (["mim"], True, False),
        (["mlm"], False, True),
        (["sfr"], False, True),
        (["cml", "dfa", "ssm", "clip"], False, False),
        (["mim", "sfr"], True, True),
    ],
)
def test_only_what_an_active_objective_needs_is_hidden(
    config, batch, text_encoder, names, voxels, words
):
    config = replace(config, weights=LossWeights().only(*names))
    hidden = hide(batch, config, text_encoder, numbers())
    assert (hidden.voxel_mask is not None) == voxels
    assert (hidden.word_mask is not None) == words
    assert (hidden.hidden_tokens is not None) == words


def test_the_settings_decide_how_much_is_hidden(config, batch, text_encoder):
    config = replace(config, voxel_mask_ratio=0.25, mask_block=16, word_mask_ratio=0.9)
    hidden = hide(batch, config, text_encoder, numbers())
    assert hidden.voxel_mask.float().mean() == 0.25
    blocks = hidden.voxel_mask.float().unfold(2, 16, 16).unfold(3, 16, 16).unfold(4, 16, 16)
    assert set(blocks.flatten(5).mean(-1).unique().tolist()) == {0.0, 1.0}
    assert hidden.word_mask.sum() > 0.8 * (batch.word >= 0).sum()
    assert (hidden.hidden_tokens == text_encoder.mask_token).sum() > 0.7 * hidden.word_mask.sum()


def test_first_weights_depend_on_the_seed_only(config, text_encoder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        state = torch.random.get_rng_state()
        first = build_pretraining(config, text_encoder).state_dict()
        assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's are used up
        torch.manual_seed(12)
        again = build_pretraining(config, text_encoder).state_dict()
    other = build_pretraining(replace(config, seed=1), text_encoder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    differ = {name for name, value in first.items() if not torch.equal(value, other[name])}
    assert any("model.encoder" in name for name in differ)
    for objective in ("mim", "mlm", "sfr", "cml", "dfa", "ssm", "clip"):
        assert any(f"objectives.{objective}." in name for name in differ), objective


def test_switching_one_objective_off_leaves_the_first_weights_of_the_others(config, text_encoder):
    whole = build_pretraining(config, text_encoder).state_dict()
    ablated = replace(config, weights=config.weights.without("mim", "cml"))
    less = build_pretraining(ablated, text_encoder).state_dict()
    gone = {name for name in whole if name not in less}
    assert gone and all(name.startswith(("objectives.mim", "objectives.cml")) for name in gone)
    assert all(torch.equal(value, whole[name]) for name, value in less.items())


def test_settings_reach_the_objectives(config, text_encoder):
    pretraining = build_pretraining(replace(config, temperature=0.25), text_encoder)
    assert pretraining.find(CLIP).temperature == pytest.approx(0.25)
    assert pretraining.find(MIM).output_stride == config.mim_output_stride == 2
    assert pretraining.find(MIM).token_stride == 16
    assert pretraining.objectives["mlm"].decoder.out_features == text_encoder.vocabulary_size


def test_an_objective_is_found_by_its_kind(config, text_encoder):
    config = replace(config, weights=config.weights.only("clip"))
    pretraining = build_pretraining(config, text_encoder)
    assert pretraining.find(CLIP) is pretraining.objectives["clip"]
    assert pretraining.find(MIM) is None


def test_micro_batches_hide_what_the_whole_batch_would(config, batch, text_encoder):
    whole = hide(batch, config, text_encoder, numbers())
    for row in range(3):
        part = hide(batch.part(row, row + 1), config, text_encoder, numbers(), first=row)
        assert part.voxel_mask.equal(whole.voxel_mask[row : row + 1])
        assert part.hidden_tokens.equal(whole.hidden_tokens[row : row + 1])
