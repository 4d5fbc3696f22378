from dataclasses import replace

import pytest
import torch

from mg3d.objectives.sfr import (
    SFR,
    SentenceGuesses,
    SentenceProjection,
    constant_loss,
    disagreement,
)


@pytest.fixture
def sfr(seeded):
    return seeded(SFR, dim=16, text_dim=12)


@pytest.mark.parametrize(
    ("repaired", "cost"), [([2.0, 0.0], 0), ([0.0, 3.0], 1), ([-1.0, 0.0], 2), ([1.0, 1.0], 0.2929)]
)
def test_disagreement_by_hand(repaired, cost):
    guesses = SentenceGuesses(torch.tensor([repaired]), torch.tensor([[5.0, 0.0]]))
    assert disagreement(guesses).item() == pytest.approx(cost, abs=1e-4)


def test_equals_the_definition_written_as_loops(sfr, make_patients):
    features, batch = make_patients()
    per_report = []
    for b, sentences in enumerate(batch.sentences):
        terms = []
        for i in range(len(sentences)):
            words = [features.repaired_words[b, t] for t in torch.where(batch.sentence[b] == i)[0]]
            hidden = sfr.repaired.expand(torch.stack(words).mean(0))
            hidden = (hidden - hidden.mean()) / (hidden.var(correction=0) + 1e-5).sqrt()
            guess = sfr.repaired.output(torch.nn.functional.gelu(hidden))
            target = sfr.target[2](sfr.target[0](features.embedded_sentences[b, i]).clamp(min=0))
            terms.append(1 - torch.cosine_similarity(guess, target, dim=0))
        per_report.append(torch.stack(terms).sum())  # a sum: long reports weigh more
    torch.testing.assert_close(sfr(features, batch), torch.stack(per_report).mean())


def test_each_sentence_is_standardised_on_its_own(seeded):
    layer = seeded(SentenceProjection, dim=16, hidden=32, width=8)
    sentences = torch.randn(5, 16)
    torch.testing.assert_close(layer(sentences)[:2], layer(sentences[:2]))
    layer.eval()
    torch.testing.assert_close(layer(sentences)[:1], layer(sentences[:1]))


def test_gradient_reaches_the_repaired_words_and_both_networks(sfr, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, sfr(features, batch)) == {"repaired_words"}
    assert features.embedded_sentences.grad is None
    assert all(p.grad.any() for p in sfr.parameters())


def test_words_outside_sentences_and_padded_sentences_do_not_count(sfr, make_patients):
    features, batch = make_patients()
    loss = sfr(features, batch)
    with torch.no_grad():
        features.repaired_words[batch.sentence < 0] = 100.0
        features.embedded_sentences[batch.sentence_padding] = 100.0
    torch.testing.assert_close(sfr(features, batch), loss)


def test_does_not_depend_on_the_order_of_patients(sfr, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(sfr(*in_order(features, batch, [2, 0, 1])), sfr(features, batch))


def test_a_report_twice_as_long_weighs_twice(sfr, make_patients):
    features, batch = make_patients((1,))
    doubled_features, doubled = make_patients((2,))
    real = batch.sentence[0] >= 0
    words = features.repaired_words[0, real].detach()
    with torch.no_grad():
        for i in range(2):
            doubled_features.repaired_words[0, doubled.sentence[0] == i] = words
            doubled_features.embedded_sentences[0, i] = features.embedded_sentences[0, 0]
    torch.testing.assert_close(sfr(doubled_features, doubled), 2 * sfr(features, batch))


def test_one_sentence_of_one_patient_and_an_empty_report_are_fine(sfr, make_patients):
    assert 0 < sfr(*make_patients((1,))).item() < 2
    features, batch = make_patients((2, 0))
    alone = sfr(*make_patients((2,)))
    assert torch.isfinite(alone)
    with_empty = sfr(features, batch)
    with_empty.backward()
    assert torch.isfinite(features.repaired_words.grad).all()
    guesses = sfr.compare(features, batch)
    torch.testing.assert_close(with_empty, disagreement(guesses).sum() / 2)


def test_a_whole_report_is_refused_with_the_way_out(sfr, make_patients):
    features, batch = make_patients()
    with pytest.raises(ValueError, match=r"SFR needs hidden words.*call batch\.hide"):
        sfr(replace(features, repaired_words=None), batch)


def test_no_constant_beats_the_constant_loss():
    torch.manual_seed(0)
    target = torch.randn(9, 4) + 1
    best = constant_loss(target, num_patients=3)
    costs = []
    for guess in torch.randn(5000, 4):
        guesses = SentenceGuesses(guess.expand(9, -1), target)
        costs.append(disagreement(guesses).sum() / 3)
    smallest = torch.stack(costs).min()
    assert best <= smallest + 1e-6
    assert smallest - best < 0.05
    direction = torch.nn.functional.normalize(target, dim=1).mean(0)
    reached = disagreement(SentenceGuesses(direction.expand(9, -1), target)).sum() / 3
    torch.testing.assert_close(best, reached)


def test_collapsed_targets_cost_a_constant_nothing():
    assert constant_loss(torch.ones(6, 8), num_patients=2).item() == pytest.approx(0, abs=1e-6)
