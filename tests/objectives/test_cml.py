from dataclasses import replace

import pytest
import torch

from mg3d.objectives.cml import CML
from mg3d.objectives.contrastive import chance_loss, symmetric_cross_entropy


@pytest.fixture
def cml(seeded):
    return seeded(CML, dim=16)


def test_equals_the_definition_written_as_loops(cml, make_patients):
    features, batch = make_patients()

    def side(head, *parts):
        return [head(torch.cat([part[b] for part in parts])[None])[0] for b in range(3)]

    fused = side(cml.fused_head, features.fused_report_vector, features.fused_volume_vector)
    alone = side(cml.alone_head, features.report_vector, features.volume_vector)
    cosines = torch.stack([torch.stack([f @ a for a in alone]) for f in fused])
    torch.testing.assert_close(cml.compare(features, batch), cosines)
    rows = torch.stack([-(cosines[b] / 0.1).log_softmax(0)[b] for b in range(3)])
    columns = torch.stack([-(cosines[:, b] / 0.1).log_softmax(0)[b] for b in range(3)])
    torch.testing.assert_close(cml(features, batch), (rows.mean() + columns.mean()) / 2)


def test_the_figure_s_cosines_are_those_of_the_loss(cml, make_patients):
    features, batch = make_patients()
    torch.testing.assert_close(
        symmetric_cross_entropy(cml.compare(features, batch) / cml.temperature),
        cml(features, batch),
    )


def test_gradient_reaches_both_modalities_alone_and_fused(cml, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, cml(features, batch)) == {
        "volume_vector", "report_vector", "fused_volume_vector", "fused_report_vector",
    }  # fmt: skip
    assert all(p.grad.any() for p in cml.parameters())


def test_does_not_depend_on_the_order_of_patients(cml, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(cml(*in_order(features, batch, [2, 0, 1])), cml(features, batch))


def test_one_patient_costs_nothing(cml, make_patients):
    assert cml(*make_patients((2,))).item() == 0


def test_the_text_alone_can_solve_it(make_patients, seeded):
    # Both sides hold the report, so a head that ignores the volume gets far below chance.
    features, batch = make_patients((1,) * 8)
    features = replace(features, fused_report_vector=features.report_vector)
    cml = seeded(CML, dim=16)
    with torch.no_grad():
        cml.alone_head.projection.weight.copy_(cml.fused_head.projection.weight)
        for head in (cml.fused_head, cml.alone_head):
            head.projection.weight[:, 16:] = 0
    assert cml(features, batch) < 0.2 * chance_loss(8)


def test_a_temperature_of_0_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        CML(dim=16, temperature=0.0)
