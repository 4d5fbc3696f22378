from dataclasses import replace

import pytest
import torch

from mg3d.objectives.mlm import MLM, cross_entropy_sum, unigram_loss


@pytest.fixture
def mlm(seeded):
    return seeded(MLM, dim=16, vocabulary_size=30)


def test_cross_entropy_by_hand():
    logits = torch.tensor([[3.0, 1.0], [0.0, 0.0]]).log()  # shares 3/4 and 1/4, then halves
    logits[1] = 0.0
    total = cross_entropy_sum(logits, torch.tensor([1, 0]))
    assert total.exp().item() == pytest.approx(4 * 2, rel=1e-5)


def test_equals_the_definition_written_as_loops(mlm, make_patients):
    features, batch = make_patients()
    surprises = []
    for b in range(3):
        for t in range(batch.tokens.shape[1]):
            if batch.word_mask[b, t]:
                logits = mlm.decoder(features.repaired_words[b, t])
                surprises.append(logits.logsumexp(0) - logits[batch.tokens[b, t]])
    torch.testing.assert_close(mlm(features, batch), torch.stack(surprises).mean())


def test_only_hidden_words_are_guessed(mlm, make_patients):
    features, batch = make_patients()
    assert len(mlm.guess(features, batch)) == batch.word_mask.sum() > 0
    mlm(features, batch).backward()
    grad = features.repaired_words.grad
    assert grad[batch.word_mask].any(dim=1).all()
    assert not grad[~batch.word_mask].any()


def test_the_true_word_is_the_target_not_what_stands_in_its_place(mlm, make_patients):
    features, batch = make_patients()
    other = replace(batch, hidden_tokens=torch.full_like(batch.tokens, 7))
    torch.testing.assert_close(mlm(features, other), mlm(features, batch))
    with torch.no_grad():
        mlm.decoder.weight /= mlm.decoder.weight.norm(dim=1, keepdim=True)
        for b, t in batch.word_mask.nonzero():  # planted: the repaired word names its token
            features.repaired_words[b, t] = 40 * mlm.decoder.weight[batch.tokens[b, t]]
    assert mlm(features, batch) < 0.1


def test_gradient_reaches_the_repaired_words_only(mlm, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, mlm(features, batch)) == {"repaired_words"}
    assert all(p.grad.any() for p in mlm.parameters())


def test_does_not_depend_on_the_order_of_patients_or_on_padding(mlm, make_patients, in_order):
    features, batch = make_patients()
    loss = mlm(features, batch)
    torch.testing.assert_close(mlm(*in_order(features, batch, [2, 0, 1])), loss)
    with torch.no_grad():
        features.repaired_words[batch.padding] = 100.0
    torch.testing.assert_close(mlm(features, batch), loss)


def test_nothing_hidden_costs_nothing_and_still_has_a_gradient(mlm, make_patients):
    features, batch = make_patients()
    batch = replace(batch, word_mask=torch.zeros_like(batch.word_mask))
    loss = mlm(features, batch)
    loss.backward()
    assert loss.item() == 0
    assert not any(p.grad.any() for p in mlm.parameters())


def test_one_hidden_word_of_one_patient_is_enough(mlm, make_patients):
    assert mlm(*make_patients((1,))).item() > 0


def test_a_whole_report_is_refused_with_the_way_out(mlm, make_patients):
    features, batch = make_patients()
    with pytest.raises(ValueError, match=r"MLM needs hidden words.*call batch\.hide"):
        mlm(replace(features, repaired_words=None), batch)


def test_unigram_by_hand():
    counts = torch.tensor([0, 1, 3, 0])  # plus one each: 1, 2, 4, 1 of 8
    tokens = torch.tensor([[0, 1, 2], [2, 3, 0]])
    hidden = torch.tensor([[True, True, False], [True, False, False]])
    loss = unigram_loss(counts, tokens, hidden)  # of 8, 4 and 2
    assert loss.exp().item() == pytest.approx((8 * 4 * 2) ** (1 / 3))
    assert unigram_loss(counts, tokens, torch.zeros_like(hidden)).item() == 0


def test_unigram_is_a_constant_guess_of_the_same_loss():
    counts, tokens = torch.randint(50, (30,)), torch.randint(30, (4, 9))
    hidden = torch.rand(4, 9) < 0.5
    logits = (counts + 1.0).log().expand(int(hidden.sum()), -1)
    expected = cross_entropy_sum(logits, tokens[hidden]) / hidden.sum()
    torch.testing.assert_close(unigram_loss(counts, tokens, hidden), expected)
