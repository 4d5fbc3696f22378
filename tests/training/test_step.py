import subprocess
import sys

import pytest
import torch

from mg3d.config import LossWeights, change
from mg3d.data.batch import collate
from mg3d.encoders import build_encoder
from mg3d.objectives import OBJECTIVES
from mg3d.objectives.clip import CLIP
from mg3d.objectives.mim import MIM
from mg3d.training.losses import weigh
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining, hide


@pytest.fixture
def batch(config, prepared, text_encoder):
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    return collate(text_encoder.pad_token)([train[row] for row in range(3)])


def numbers(seed=5):
    return torch.Generator().manual_seed(seed)


def test_every_active_objective_gives_its_own_loss(config, batch, text_encoder):
    pretraining = build_pretraining(config, text_encoder)
    assert list(pretraining.objectives) == list(OBJECTIVES)
    hidden = hide(batch, config, text_encoder, numbers())
    terms = pretraining(hidden)
    features = pretraining.model(hidden)
    assert list(terms) == list(OBJECTIVES)
    for name, term in terms.items():
        torch.testing.assert_close(term, pretraining.objectives[name](features, hidden))


def test_what_compares_patients_is_left_out_of_a_batch_of_one(config, batch, text_encoder):
    pretraining = build_pretraining(config, text_encoder)
    alone = hide(batch.part(0, 1), config, text_encoder, numbers())
    assert set(OBJECTIVES) - set(pretraining(alone)) == {"cml", "dfa", "ssm", "clip"}


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
    config = change(config, weights=LossWeights().only(*names))
    hidden = hide(batch, config, text_encoder, numbers())
    assert (hidden.voxel_mask is not None) == voxels
    assert (hidden.word_mask is not None) == words
    assert (hidden.hidden_tokens is not None) == words


def test_the_settings_decide_how_much_is_hidden(config, batch, text_encoder):
    config = change(config, voxel_mask_ratio=0.25, mask_block=16, word_mask_ratio=0.9)
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
    other = build_pretraining(change(config, seed=1), text_encoder).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    differ = {name for name, value in first.items() if not torch.equal(value, other[name])}
    assert any("model.encoder" in name for name in differ)
    for objective in ("mim", "mlm", "sfr", "cml", "dfa", "ssm", "clip"):
        assert any(f"objectives.{objective}." in name for name in differ), objective


def test_switching_one_objective_off_leaves_the_first_weights_of_the_others(config, text_encoder):
    whole = build_pretraining(config, text_encoder).state_dict()
    ablated = change(config, weights=config.weights.without("mim", "cml"))
    less = build_pretraining(ablated, text_encoder).state_dict()
    gone = {name for name in whole if name not in less}
    assert gone and all(name.startswith(("objectives.mim", "objectives.cml")) for name in gone)
    assert all(torch.equal(value, whole[name]) for name, value in less.items())


def test_settings_reach_the_objectives(config, text_encoder):
    pretraining = build_pretraining(change(config, temperature=0.25), text_encoder)
    assert pretraining.find(CLIP).temperature == pytest.approx(0.25)
    assert pretraining.find(MIM).output_stride == config.objectives.mim_output_stride == 2
    assert pretraining.find(MIM).token_stride == 16
    assert pretraining.objectives["mlm"].decoder.out_features == text_encoder.vocabulary_size


def test_an_objective_is_found_by_its_kind(config, text_encoder):
    config = change(config, weights=config.weights.only("clip"))
    pretraining = build_pretraining(config, text_encoder)
    assert pretraining.find(CLIP) is pretraining.objectives["clip"]
    assert pretraining.find(MIM) is None


def test_micro_batches_hide_what_the_whole_batch_would(config, batch, text_encoder):
    whole = hide(batch, config, text_encoder, numbers())
    for row in range(3):
        part = hide(batch.part(row, row + 1), config, text_encoder, numbers(), first=row)
        assert part.voxel_mask.equal(whole.voxel_mask[row : row + 1])
        assert part.hidden_tokens.equal(whole.hidden_tokens[row : row + 1])


SWIN = {"embed_dim": 12, "num_heads": (1, 2, 4, 8), "window": 4, "patch": 1}


@pytest.mark.parametrize("encoder, settings", [("unet3d", None), ("swin3d", SWIN)])
def test_recomputing_changes_neither_losses_nor_gradients(
    config, batch, text_encoder, encoder, settings
):
    settings = settings or config.network.encoder_settings
    config = change(config, encoder=encoder, encoder_settings=settings)
    hidden = hide(batch, config, text_encoder, numbers())

    def run(**changed):
        pretraining = build_pretraining(change(config, **changed), text_encoder)
        calls = []
        pretraining.find(MIM).output.register_forward_pre_hook(lambda *_: calls.append(1))
        terms = pretraining(hidden)
        weigh(terms, config.weights.active()).backward()
        return pretraining, terms, len(calls)

    kept, kept_terms, once = run()
    again, terms, twice = run(activation_checkpointing=True)
    assert (once, twice) == (1, 2)
    for name, term in terms.items():
        torch.testing.assert_close(term, kept_terms[name], rtol=1e-6, atol=1e-7)
    for (name, ours), theirs in zip(again.named_parameters(), kept.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize("encoder, settings", [("unet3d", None), ("swin3d", SWIN)])
@pytest.mark.parametrize("recompute", [False, True])
def test_a_batch_in_parts_has_the_losses_and_gradients_of_the_whole_batch(
    config, batch, text_encoder, encoder, settings, recompute
):
    settings = settings or config.network.encoder_settings
    config = change(config, encoder=encoder, encoder_settings=settings)
    hidden = hide(batch, config, text_encoder, numbers())
    part = len(batch) // 2
    assert 0 < part < len(batch)

    def run(**changed):
        pretraining = build_pretraining(change(config, **changed), text_encoder)
        encoded, decoded = [], []
        pretraining.model.encoder.register_forward_pre_hook(lambda _, x: encoded.append(len(x[0])))
        pretraining.find(MIM).output.register_forward_pre_hook(
            lambda _, x: decoded.append(len(x[0]))
        )
        terms = pretraining(hidden)
        weigh(terms, config.weights.active()).backward()
        return pretraining, terms, (encoded, decoded)

    kept, kept_terms, _ = run()
    cached, terms, (encoded, decoded) = run(
        activation_batch=part, activation_checkpointing=recompute
    )
    rows = [len(rest) for rest in torch.arange(len(batch)).split(part)]
    # Both volumes (whole and masked) and MIM's decoder: forward, then again in the backward pass.
    assert sorted(encoded) == sorted(4 * rows) and sorted(decoded) == sorted(2 * rows)
    for name, term in terms.items():
        torch.testing.assert_close(term, kept_terms[name], rtol=1e-5, atol=1e-6)
    for (name, ours), theirs in zip(cached.named_parameters(), kept.parameters(), strict=True):
        assert (ours.grad is None) == (theirs.grad is None), name
        if ours.grad is not None:
            most = 1e-5 * float(theirs.grad.abs().max())  # sums in another order
            torch.testing.assert_close(
                ours.grad, theirs.grad, rtol=1e-5, atol=max(most, 1e-6), msg=name
            )


@pytest.mark.parametrize("encoder, settings", [("unet3d", None), ("swin3d", SWIN)])
def test_the_run_s_setting_reaches_the_encoder_whose_own_wins(
    config, text_encoder, monkeypatch, encoder, settings
):
    asked = []

    def build(name, **chosen):
        asked.append(chosen)
        return build_encoder(name, **chosen)

    monkeypatch.setattr("mg3d.model.build_encoder", build)
    config = change(
        config, encoder=encoder, encoder_settings=settings or config.network.encoder_settings
    )
    build_pretraining(config, text_encoder)
    config = change(config, activation_checkpointing=True)
    build_pretraining(config, text_encoder)
    own = {**config.network.encoder_settings, "checkpointing": False}
    build_pretraining(change(config, encoder_settings=own), text_encoder)
    assert [chosen.get("checkpointing") for chosen in asked] == [None, True, False]


def test_window_recompute_of_the_settings_reaches_the_swin_encoder_whose_own_wins(
    config, text_encoder
):
    def built(settings, **changes):
        own = change(config, encoder="swin3d", encoder_settings=settings, **changes)
        return build_pretraining(own, text_encoder).model.encoder.window_recompute

    assert built(SWIN) is True
    assert built(SWIN, window_recompute=False) is False
    assert built({**SWIN, "window_recompute": False}) is False
    assert "window_recompute" not in config.network.encoder_settings
    build_pretraining(config, text_encoder)  # an encoder without windows takes no notice


def test_a_compiled_model_keeps_its_names_and_its_numbers(repository):
    # In a process of its own, without the checks of shapes, which the compiler cannot read; traced
    # as in earnest (backend "eager"), without the minutes of optimising.
    code = """
import torch
from mg3d.config import change, find_preset
from mg3d.objectives.mim import MIM
from mg3d.training.step import build_pretraining
compiled, torch_compile = [], torch.compile
def quick(function, **settings):
    compiled.append(function)
    return torch_compile(function, **{**settings, "backend": "eager"})
torch.compile = quick
config = change(find_preset("tiny"), dim=32, encoder_settings={"channels": (4, 8, 8, 8)})
plain, fast = (build_pretraining(change(config, compile=c)) for c in (False, True))
assert len(compiled) == 2, compiled
assert list(fast.state_dict()) == list(plain.state_dict())
volume = torch.rand(2, 1, 48, 32, 48)
for ours, theirs in zip(fast.model.encoder(volume), plain.model.encoder(volume), strict=True):
    torch.testing.assert_close(ours, theirs)
tokens = torch.randn(2, 32, 3, 2, 3)
torch.testing.assert_close(fast.find(MIM).decode(tokens), plain.find(MIM).decode(tokens))
counted = torch._dynamo.utils.counters["stats"]["unique_graphs"]
assert counted == 2, counted
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
