import pytest
import torch

from mg3d.objectives import ssm
from mg3d.objectives.ssm import SSM, compare_sentences, ssm_loss
from mg3d.objectives.ssm_blocks import PAIRS_AT_ONCE, blocked_ssm_loss
from mg3d.training.memory import peak_memory_gb

LENGTHS = (3, 1, 0, 7, 4, 2)  # sentences of each patient


def sentences(lengths=LENGTHS, seed=0, dtype=torch.float64):
    """Visual features, identities and patients: pairs that agree, differ and are undecided."""
    generator = torch.Generator().manual_seed(seed)
    patient = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    topics = torch.randn(3, 6, generator=generator, dtype=dtype)
    noise = torch.randn(len(patient), 6, generator=generator, dtype=dtype)
    identity = topics[torch.arange(len(patient)) % 3] + 0.3 * noise
    visual = torch.randn(len(patient), 8, generator=generator, dtype=dtype)
    return visual, identity, patient


def loss_and_gradient(form, visual, *others, **settings):
    visual = visual.detach().requires_grad_()
    loss = form(visual, *others, **settings)
    (3 * loss).backward()
    return loss.detach(), visual.grad


def plain(visual, identity, patient, **settings):
    return ssm_loss(compare_sentences(visual, identity, patient, **settings))


@pytest.mark.parametrize("pairs_at_once", [1, 17, 40, 90, 10_000])
@pytest.mark.parametrize("settings", [{}, {"same_above": 0.8, "different_below": 0.1}], ids=str)
def test_blocks_of_any_size_give_the_loss_and_gradient_of_all_pairs_at_once(
    pairs_at_once, settings
):
    for seed in range(3):
        data = sentences(seed=seed)
        assert len(set(compare_sentences(*data, **settings).decided.flatten().tolist())) == 2
        expected = loss_and_gradient(plain, *data, **settings)
        found = loss_and_gradient(blocked_ssm_loss, *data, pairs_at_once=pairs_at_once, **settings)
        assert expected[1].any()
        torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-10)


def test_sentences_may_come_in_any_order():
    visual, identity, patient = sentences()
    order = torch.randperm(len(patient), generator=torch.Generator().manual_seed(1))
    expected = loss_and_gradient(plain, visual, identity, patient)
    found = loss_and_gradient(
        blocked_ssm_loss, visual[order], identity[order], patient[order], pairs_at_once=40
    )
    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1][order])


def test_the_gradient_is_the_slope_of_the_loss():
    visual, identity, patient = sentences()
    assert torch.autograd.gradcheck(
        lambda moved: blocked_ssm_loss(moved, identity, patient, pairs_at_once=40),
        visual.requires_grad_(),
    )


def test_without_gradients_the_loss_is_the_same():
    data = sentences()
    with torch.no_grad():
        torch.testing.assert_close(blocked_ssm_loss(*data, pairs_at_once=40), plain(*data))


def test_mixed_precision_compares_in_float32():
    visual, identity, patient = sentences(dtype=torch.float32)
    expected = loss_and_gradient(blocked_ssm_loss, visual, identity, patient, pairs_at_once=40)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = loss_and_gradient(blocked_ssm_loss, visual, identity, patient, pairs_at_once=40)
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_a_value_that_is_no_number_is_not_hidden():
    visual, identity, patient = sentences()
    visual[4] = torch.nan
    assert blocked_ssm_loss(visual, identity, patient, pairs_at_once=40).isnan()


def test_a_single_patient_and_crossed_thresholds_are_refused_as_without_blocks():
    visual, identity, patient = sentences((3,))
    with pytest.raises(ValueError, match=r"holds 1 with a sentence.*drop_last=True"):
        blocked_ssm_loss(visual, identity, patient)
    with pytest.raises(ValueError, match="smaller than same_above"):
        blocked_ssm_loss(*sentences(), same_above=0.5, different_below=0.6)


@pytest.mark.parametrize(("limit", "blocks"), [(36, False), (35, True)])
def test_the_objective_takes_blocks_above_a_number_of_pairs_and_loses_nothing(
    monkeypatch, make_patients, seeded, limit, blocks
):
    features, batch = make_patients((3, 1, 2))  # 6 x 6 pairs of sentences
    objective, taken = seeded(SSM, dim=16, width=8), []

    def watched(*data, **thresholds):
        taken.append(len(data[2]))
        return blocked_ssm_loss(*data, **thresholds, pairs_at_once=12)

    monkeypatch.setattr(ssm, "PAIRS_AT_ONCE", limit)
    monkeypatch.setattr(ssm, "blocked_ssm_loss", watched)
    loss = objective(features, batch)
    assert taken == ([6] if blocks else [])
    torch.testing.assert_close(loss, ssm_loss(objective.compare(features, batch)))


def test_batches_of_lessons_and_of_the_default_run_are_compared_at_once():
    assert PAIRS_AT_ONCE >= (64 * 32) ** 2  # 64 reports of 32 sentences


def test_memory_does_not_grow_with_the_square_of_the_sentences():
    lengths = (80,) * 100
    visual, identity, patient = sentences(lengths, dtype=torch.float32)
    squared_gb = 4 * len(patient) ** 2 / 1e9
    blocked_ssm_loss(*sentences((2, 2), dtype=torch.float32))  # warm-up: loads libraries
    before = peak_memory_gb()
    loss, gradient = loss_and_gradient(
        blocked_ssm_loss, visual, identity, patient, pairs_at_once=2**18
    )
    assert loss > 0 and gradient.any()
    assert peak_memory_gb() - before < squared_gb / 4
