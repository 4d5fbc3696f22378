from dataclasses import replace

import pytest
import torch

from mg3d.objectives.clip import CLIP, LOWEST_TEMPERATURE
from mg3d.objectives.contrastive import symmetric_cross_entropy


@pytest.fixture
def clip(seeded):
    return seeded(CLIP, dim=16)


def test_equals_the_definition_written_as_loops(clip, make_patients):
    features, batch = make_patients()
    volumes = [clip.volume_head(v[None])[0] for v in features.volume_vector]
    reports = [clip.report_head(r[None])[0] for r in features.report_vector]
    terms = []
    for own, other in ((volumes, reports), (reports, volumes)):
        for b in range(3):
            scores = torch.stack([own[b] @ other[c] for c in range(3)]) / 0.1
            terms.append(-scores.log_softmax(0)[b])
    torch.testing.assert_close(clip(features, batch), torch.stack(terms).mean())


def test_the_figure_s_cosines_are_those_of_the_loss_with_reports_in_rows(clip, make_patients):
    features, batch = make_patients()
    cosines = clip.compare(features, batch)
    torch.testing.assert_close(
        symmetric_cross_entropy(cosines / clip.temperature), clip(features, batch)
    )
    row = clip.report_head(features.report_vector)[1] @ clip.volume_head(features.volume_vector).T
    torch.testing.assert_close(cosines[1], row)


def test_gradient_reaches_each_modality_alone_and_nothing_fused(clip, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, clip(features, batch)) == {"volume_vector", "report_vector"}


def test_does_not_depend_on_the_order_of_patients(clip, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(clip(*in_order(features, batch, [2, 0, 1])), clip(features, batch))


def test_reports_of_other_patients_cost_more(clip, make_patients):
    # Planted: both heads alike, and the report's vector says what the volume's does.
    features, batch = make_patients((1,) * 6)
    clip.report_head.load_state_dict(clip.volume_head.state_dict())
    planted = replace(features, report_vector=features.volume_vector)
    shuffled = replace(features, report_vector=features.volume_vector.roll(1, 0))
    assert clip(planted, batch) < 0.1
    assert clip(shuffled, batch) > 2


def test_one_patient_costs_nothing(clip, make_patients):
    assert clip(*make_patients((2,))).item() == 0


def test_the_temperature_is_fixed_unless_asked_for(clip, make_patients, seeded):
    assert clip.temperature.item() == pytest.approx(0.1)
    assert not clip.log_temperature.requires_grad
    learning = seeded(CLIP, dim=16, temperature=0.2, learnable=True)
    assert learning.temperature.item() == pytest.approx(0.2)
    learning(*make_patients()).backward()
    assert learning.log_temperature.grad != 0


def test_a_learned_temperature_stays_warm_enough(seeded):
    clip = seeded(CLIP, dim=16, learnable=True)
    with torch.no_grad():
        clip.log_temperature.fill_(-50.0)
    assert clip.temperature.item() == pytest.approx(LOWEST_TEMPERATURE)
