"""Batch to Features: what is computed, what is not, and who knows of whom."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from mg3d import config as settings
from mg3d.data.batch import Patient, collate
from mg3d.model import build_model
from mg3d.text.tokens import tokenize_report
from mg3d.training.step import hide

REPORTS = (
    ("the heart is enlarged.", "there is a nodule in the left upper lobe.", "no effusion."),
    ("no effusion.",),
    ("both lungs are clear.", "the aorta is calcified."),
)
REPORT_FEATURES = ("sentence_tokens", "report_vector", "embedded_sentences", "identity")
VOLUME_FEATURES = ("visual_tokens", "volume_vector")


@pytest.fixture
def model(config, text_encoder):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(config, text_encoder).eval()


def patients_of(text_encoder, reports=REPORTS):
    numbers = torch.Generator().manual_seed(1)
    return [
        Patient(
            f"patient {number}",
            f"volume {number}",
            torch.rand(1, 32, 32, 32, generator=numbers),
            tokenize_report(text_encoder.tokenizer, report, 64),
        )
        for number, report in enumerate(reports)
    ]


@pytest.fixture
def patients(text_encoder):
    return patients_of(text_encoder)


@pytest.fixture
def stack(text_encoder):
    return collate(text_encoder.pad_token)


@pytest.fixture
def whole(patients, stack):
    return stack(patients)


@pytest.fixture
def hidden(whole, config, text_encoder):
    return hide(whole, config, text_encoder, torch.Generator().manual_seed(2))


@pytest.fixture
def passes(model, monkeypatch):
    """How many volumes went through the vision encoder, pass by pass."""
    seen = []
    model.encoder.register_forward_hook(lambda _, volumes, __: seen.append(volumes[0].clone()))
    return seen


def tensors(features):
    return {name: value for name, value in vars(features).items() if isinstance(value, Tensor)}


def test_every_feature_has_its_shape(model, hidden, text_encoder):
    B, K, T = 3, 3, hidden.tokens.shape[1]
    N, d, e = 8, 32, text_encoder.width
    features = model(hidden)
    assert features.token_grid == (2, 2, 2)
    assert {name: tuple(value.shape) for name, value in tensors(features).items()} == {
        "visual_tokens": (B, N, d),
        "sentence_tokens": (B, K, d),
        "volume_vector": (B, d),
        "report_vector": (B, d),
        "fused_volume_vector": (B, d),
        "fused_report_vector": (B, d),
        "informed_sentences": (B, K, d),
        "aggregate": (B, d),
        "embedded_sentences": (B, K, e),
        "identity": (B, K, e),
        "filled_visual_tokens": (B, N, d),
        "repaired_words": (B, T, d),
    }
    assert all(value.isfinite().all() for value in tensors(features).values())


def test_a_whole_batch_costs_one_encoder_pass_and_nothing_is_filled_in(model, whole, passes):
    features = model(whole)
    assert len(passes) == 1
    assert features.filled_visual_tokens is None
    assert features.repaired_words is None


def test_hidden_voxels_cost_a_second_pass_hidden_words_do_not(model, hidden, passes):
    features = model(replace(hidden, voxel_mask=None))
    assert len(passes) == 1
    assert features.filled_visual_tokens is None and features.repaired_words is not None
    features = model(replace(hidden, hidden_tokens=None, word_mask=None))
    assert len(passes) == 3
    assert features.filled_visual_tokens is not None and features.repaired_words is None


def test_the_first_pass_sees_everything_the_second_no_hidden_voxel(model, hidden, passes):
    model(hidden)
    first, second = passes
    assert torch.equal(first, hidden.volume)
    assert (second[hidden.voxel_mask] == 0).all()
    assert torch.equal(second[~hidden.voxel_mask], hidden.volume[~hidden.voxel_mask])


def test_what_is_hidden_changes_only_what_is_filled_in(model, whole, hidden):
    before, after = tensors(model(whole)), tensors(model(hidden))
    assert set(after) - set(before) == {"filled_visual_tokens", "repaired_words"}
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_hidden_voxels_leave_no_trace_in_what_fills_them_in(model, hidden):
    other = replace(hidden, volume=torch.where(hidden.voxel_mask, 0.7, hidden.volume))
    filled = model(hidden).filled_visual_tokens
    assert torch.equal(model(other).filled_visual_tokens, filled)


def test_hidden_words_leave_no_trace_in_what_repairs_them(model, hidden):
    other = replace(hidden, tokens=torch.where(hidden.word_mask, 7, hidden.tokens))
    assert torch.equal(model(other).repaired_words, model(hidden).repaired_words)


@pytest.mark.parametrize("attention", ["gated", "softmax"])
def test_a_report_means_the_same_beside_a_longer_one(
    config, text_encoder, patients, stack, attention
):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(settings.change(config, attention=attention), text_encoder).eval()

    def both(chosen, length):
        batch = stack(chosen)
        masks = torch.zeros_like(batch.volume, dtype=torch.bool)
        masks[..., :16] = True
        batch = replace(batch, voxel_mask=masks, hidden_tokens=batch.tokens)
        features = {k: v[-1] for k, v in tensors(model(batch)).items()}
        for name in ("sentence_tokens", "informed_sentences", "embedded_sentences", "identity"):
            assert not features[name][1:].any(), name  # where there is no sentence
            features[name] = features[name][:1]
        assert not batch.padding[-1, :length].any()
        features["repaired_words"] = features["repaired_words"][:length]
        return features

    short = patients[1]
    alone = both([short], len(short.report.tokens))
    beside = both([patients[0], short], len(short.report.tokens))
    for name, value in alone.items():  # one volume and two may be convolved in another order
        atol = 5e-5 * max(1.0, value.abs().max().item())
        torch.testing.assert_close(beside[name], value, atol=atol, rtol=1e-5, msg=name)


def test_patients_in_another_order_give_features_in_that_order(model, patients, stack):
    order = [2, 0, 1]
    before = tensors(model(stack(patients)))
    after = tensors(model(stack([patients[b] for b in order])))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value[order], atol=1e-5, rtol=1e-5, msg=name)


def test_alone_means_alone(model, whole, text_encoder, stack):
    before = model(whole)
    other_volume = model(replace(whole, volume=1 - whole.volume))
    other_report = model(
        replace(stack(patients_of(text_encoder, REPORTS[::-1])), volume=whole.volume)
    )
    for name in REPORT_FEATURES:
        assert torch.equal(getattr(before, name), getattr(other_volume, name)), name
        assert not torch.equal(getattr(before, name), getattr(other_report, name)), name
    for name in VOLUME_FEATURES:
        assert torch.equal(getattr(before, name), getattr(other_report, name)), name
        assert not torch.equal(getattr(before, name), getattr(other_volume, name)), name


@pytest.mark.parametrize(
    "name", ["fused_volume_vector", "fused_report_vector", "informed_sentences", "aggregate",
             "filled_visual_tokens", "repaired_words"],
)  # fmt: skip
def test_what_is_fused_knows_both(model, hidden, name):
    def changed(batch):
        return not torch.equal(getattr(model(batch), name)[0], getattr(before, name)[0])

    before = model(hidden)
    assert changed(replace(hidden, volume=hidden.volume.roll(1, 0)))
    # Other words in the last sentence of the first patient's report.
    swap = hidden.sentence == 2
    tokens, read = (torch.where(swap, 7, t) for t in (hidden.tokens, hidden.hidden_tokens))
    assert changed(replace(hidden, tokens=tokens, hidden_tokens=read))


def test_features_are_put_together_from_the_two_sides_alone(model, hidden):
    with torch.no_grad():  # fresh poolers give vectors so short that gates hardly see them
        model.volume_pooler.output.bias.fill_(1.0)
    features, padding = model(hidden), hidden.sentence_padding
    informed, aggregate = model.informed(features.volume_vector, features.sentence_tokens, padding)
    torch.testing.assert_close(features.informed_sentences, informed)
    torch.testing.assert_close(features.aggregate, aggregate)
    volume, report = model.sentence_fusion(
        features.visual_tokens, features.sentence_tokens, text_padding=padding
    )
    torch.testing.assert_close(features.fused_volume_vector, model.fused_volume_pooler(volume))
    torch.testing.assert_close(
        features.fused_report_vector, model.fused_report_pooler(report, padding)
    )


def test_embedding_alone_gives_the_vectors_of_the_whole_model(model, whole):
    features = model(whole)
    torch.testing.assert_close(model.embed_volumes(whole.volume), features.volume_vector)
    torch.testing.assert_close(model.embed_reports(whole), features.report_vector)


def test_the_two_modalities_carry_offsets_of_their_own(model, whole):
    before = model(whole)
    with torch.no_grad():
        model.modality.weight[1] += 1.0
    after = model(whole)
    torch.testing.assert_close(after.visual_tokens, before.visual_tokens + 1.0)
    assert torch.equal(after.sentence_tokens, before.sentence_tokens)


def test_a_sentence_is_the_mean_of_its_words(model, whole, text_encoder):
    features = model(whole)
    states = text_encoder(whole.tokens, whole.padding)
    words = model.word_tokens(states.hidden)
    for b, report in enumerate(whole.sentences):
        for k, sentence in enumerate(report):
            own = whole.sentence[b] == k
            torch.testing.assert_close(features.sentence_tokens[b, k], words[b, own].mean(0))
            torch.testing.assert_close(
                features.embedded_sentences[b, k], states.embedded[b, own].mean(0)
            )
            (identity,) = text_encoder.identity([sentence])
            torch.testing.assert_close(features.identity[b, k], identity)


def test_the_text_encoder_gets_no_gradient_and_is_no_part_of_the_model(model, hidden, text_encoder):
    features = model(hidden)
    assert not features.embedded_sentences.requires_grad and not features.identity.requires_grad
    learnt = [value for value in tensors(features).values() if value.requires_grad]
    assert len(learnt) == len(tensors(features)) - 2
    sum(value.square().sum() for value in learnt).backward()
    frozen = list(text_encoder.parameters())
    assert all(p.grad is None and not p.requires_grad for p in frozen)
    own = {id(p) for p in model.parameters()}
    assert not own & {id(p) for p in frozen}
    # The word fusion's last layer updates the volume for nobody, as in the released code.
    silent = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert all(n.startswith("word_fusion.layers.1.volume") for n in silent), silent


def test_the_same_report_is_read_once(model, whole, text_encoder):
    calls = []
    hook = text_encoder.plain.register_forward_hook(lambda *_: calls.append(1))
    model(whole)
    first = len(calls)
    model(whole)
    hook.remove()
    assert len(calls) == first  # and `first` is 0 if an earlier test asked for these reports


def test_a_volume_of_another_shape_is_refused(model, whole):
    larger = replace(whole, volume=torch.rand(3, 1, 48, 32, 32))
    with pytest.raises(ValueError, match="8 visual tokens, got 12"):
        model(larger)
    uneven = replace(whole, volume=torch.rand(3, 1, 40, 32, 32))
    with pytest.raises(ValueError, match=r"\(40, 32, 32\) must be divisible by 16"):
        model(uneven)


def test_a_model_for_a_shape_its_encoder_cannot_halve_is_refused(config, text_encoder):
    config = settings.change(config, volume_shape=(40, 32, 32), mask_block=8)
    with pytest.raises(ValueError, match=r"divisible by 16.*nearest that fits is \(32, 32, 32\)"):
        build_model(config, text_encoder)


@pytest.mark.parametrize("width", [24, 96, 768])
def test_tokens_start_as_large_at_every_width_as_at_the_papers(config, text_encoder, width):
    model = build_model(
        settings.change(config, encoder_settings={"channels": (4, width)}, dim=768), text_encoder
    )
    weight = model.volume_projection.weight
    assert float(weight.detach().std()) == pytest.approx(0.02 * (768 / width) ** 0.5, rel=0.03)
    size = float(model.text_projection.weight.detach().square().sum(dim=1).mean().sqrt())
    assert size == pytest.approx(0.02 * 768**0.5, rel=0.05)
