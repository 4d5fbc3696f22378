from dataclasses import replace

import pytest
import torch

from mg3d.objectives.contrastive import chance_loss, symmetric_cross_entropy
from mg3d.objectives.dfa import DFA


@pytest.fixture
def dfa(seeded):
    return seeded(DFA, dim=16)


def test_equals_the_definition_written_as_loops(dfa, make_patients):
    features, batch = make_patients()
    fused = [dfa.volume_head(v[None])[0] for v in features.fused_volume_vector]
    aggregate = [dfa.aggregate_head(v[None])[0] for v in features.aggregate]
    terms = []
    for own, other in ((fused, aggregate), (aggregate, fused)):
        for b in range(3):
            scores = torch.stack([own[b] @ other[c] for c in range(3)]) / 0.1
            terms.append(-scores.log_softmax(0)[b])
    torch.testing.assert_close(dfa(features, batch), torch.stack(terms).mean())


def test_the_figure_s_cosines_are_those_of_the_loss(dfa, make_patients):
    features, batch = make_patients()
    cosines = dfa.compare(features, batch)
    torch.testing.assert_close(
        symmetric_cross_entropy(cosines / dfa.temperature), dfa(features, batch)
    )
    row = (
        dfa.volume_head(features.fused_volume_vector)[1] @ dfa.aggregate_head(features.aggregate).T
    )
    torch.testing.assert_close(cosines[1], row)


def test_gradient_reaches_the_fused_volume_and_the_aggregate(dfa, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, dfa(features, batch)) == {"fused_volume_vector", "aggregate"}
    assert all(p.grad.any() for p in dfa.parameters())


def test_does_not_depend_on_the_order_of_patients(dfa, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(dfa(*in_order(features, batch, [2, 0, 1])), dfa(features, batch))


def test_one_patient_costs_nothing(dfa, make_patients):
    assert dfa(*make_patients((2,))).item() == 0


def test_aggregates_that_are_all_alike_cost_chance_or_more(dfa, make_patients):
    features, batch = make_patients((1,) * 6)
    alike = replace(features, aggregate=features.aggregate[:1].expand(6, -1))
    assert dfa(alike, batch) >= chance_loss(6) - 1e-5
