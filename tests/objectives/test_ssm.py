from dataclasses import replace

import pytest
import torch

from mg3d.objectives.ssm import SSM, collapsed_loss, compare_sentences, ssm_loss


def loss_of(visual, identity, patient):
    pairs = compare_sentences(torch.tensor(visual), torch.tensor(identity), torch.tensor(patient))
    return float(ssm_loss(pairs))


def two_vectors(cosine):
    return [[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]]


def random_pairs(patient=(0, 0, 0, 1, 1, 2), seed=0):
    """Sentences of which some agree, some differ, some are undecided."""
    generator = torch.Generator().manual_seed(seed)
    topics = torch.randn(3, 6, generator=generator)
    topic = torch.arange(len(patient)) % 3
    noise = 0.5 * torch.randn(len(patient), 6, generator=generator)
    visual = torch.randn(len(patient), 8, generator=generator)
    return visual, topics[topic] + noise * (torch.arange(len(patient)) % 2)[:, None], patient


@pytest.fixture
def ssm(seeded):
    return seeded(SSM, dim=16, width=8)


@pytest.mark.parametrize(
    ("words", "seen", "cost"),
    [
        (1.00, 0.0, 1.00),  # the same sentence, seen as unrelated
        (0.95, 0.5, 0.45),  # nearly the same: pulled to 0.95, not to 1
        (0.95, 1.0, 0.05),  # and from above, too
        (0.75, 0.5, 0.00),  # undecided: costs nothing
        (0.30, 0.5, 0.50),  # different: pulled to 0
        (0.30, -0.5, 0.50),  # not to -1
    ],
)
def test_cost_of_one_pair_by_hand(words, seen, cost):
    loss = loss_of(two_vectors(seen), two_vectors(words), patient=[0, 1])
    assert loss == pytest.approx(cost, abs=1e-6)


def test_a_sentence_is_not_compared_with_its_own_report():
    agree, clash = two_vectors(1.0), two_vectors(0.0)
    loss = loss_of(agree + agree, clash + clash, patient=[0, 0, 1, 1])
    assert loss == pytest.approx(0.5)  # of the four pairs across patients, two clash


def test_undecided_pairs_cost_nothing_but_count_in_the_mean():
    visual = [[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]
    identity = [[1.0, 0.0], two_vectors(0.75)[1], [0.0, 1.0]]  # undecided, then different
    assert loss_of(visual, identity, patient=[0, 1, 1]) == pytest.approx(0.5)


def test_does_not_depend_on_how_long_a_report_is():
    short = loss_of([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]] * 2, patient=[0, 1])
    long = loss_of([[1.0, 0.0]] * 5 + [[0.0, 1.0]], [[1.0, 0.0]] * 6, patient=[0] * 5 + [1])
    assert long == pytest.approx(short)


def test_equals_the_definition_written_as_loops():
    visual, identity, patient = random_pairs()
    patient = torch.tensor(patient)
    kinds = set()
    per_pair_of_patients = []
    for b, c in [(0, 1), (0, 2), (1, 2)]:
        errors = []
        for i in torch.where(patient == b)[0]:
            for j in torch.where(patient == c)[0]:
                words = torch.cosine_similarity(identity[i], identity[j], dim=0)
                seen = torch.cosine_similarity(visual[i], visual[j], dim=0)
                if words >= 0.9:
                    errors.append((seen - words).abs())
                    kinds.add("same")
                elif words <= 0.6:
                    errors.append(seen.abs())
                    kinds.add("different")
                else:
                    errors.append(torch.tensor(0.0))
                    kinds.add("undecided")
        per_pair_of_patients.append(torch.stack(errors).mean())
    assert kinds == {"same", "different", "undecided"}

    expected = torch.stack(per_pair_of_patients).mean()
    torch.testing.assert_close(ssm_loss(compare_sentences(visual, identity, patient)), expected)


def test_weights_are_shares_of_one_loss():
    visual, identity, patient = random_pairs()
    pairs = compare_sentences(visual, identity, torch.tensor(patient))
    assert pairs.weight.sum().item() == pytest.approx(1)
    assert not pairs.weight[pairs.patient[:, None] == pairs.patient].any()


def test_does_not_depend_on_the_order_of_sentences_or_patients():
    visual, identity, patient = random_pairs()
    patient = torch.tensor(patient)
    loss = ssm_loss(compare_sentences(visual, identity, patient))
    order = torch.tensor([4, 0, 5, 2, 3, 1])
    renamed = torch.tensor([2, 0, 1])[patient]
    for p in (patient, renamed):
        moved = ssm_loss(compare_sentences(visual[order], identity[order], p[order]))
        torch.testing.assert_close(moved, loss)


def test_gradient_reaches_the_visual_features_only():
    visual, identity = torch.randn(4, 8, requires_grad=True), torch.randn(4, 8, requires_grad=True)
    ssm_loss(compare_sentences(visual, identity, torch.tensor([0, 0, 1, 1]))).backward()
    assert visual.grad.abs().sum() > 0
    assert identity.grad is None


@pytest.mark.parametrize("patient", [[0, 0], [1, 1]])
def test_a_single_patient_is_refused_with_the_way_out(patient):
    with pytest.raises(ValueError, match=r"holds 1 with a sentence.*drop_last=True"):
        loss_of(two_vectors(0.0), two_vectors(0.0), patient=patient)


def test_a_patient_without_a_sentence_is_in_no_pair():
    visual, identity, patient = random_pairs()
    gap = torch.tensor(patient) * 2  # patients 1 and 3 have none
    loss = ssm_loss(compare_sentences(visual, identity, gap))
    torch.testing.assert_close(
        loss, ssm_loss(compare_sentences(visual, identity, torch.tensor(patient)))
    )


def test_crossed_thresholds_are_refused():
    with pytest.raises(ValueError, match="smaller than same_above"):
        compare_sentences(
            torch.eye(2), torch.eye(2), torch.tensor([0, 1]), same_above=0.5, different_below=0.6
        )
    with pytest.raises(ValueError, match="smaller than same_above"):
        SSM(dim=4, same_above=0.5, different_below=0.5)


def test_the_head_equals_its_formula(ssm):
    informed = torch.randn(5, 16)
    hidden = ssm.head.expand(informed)
    assert hidden.shape == (5, 8)  # half of dim
    mean, spread = hidden.mean(1, keepdim=True), hidden.var(1, correction=0, keepdim=True)
    hidden = torch.nn.functional.gelu((hidden - mean) / (spread + 1e-5).sqrt())
    torch.testing.assert_close(ssm.visual(informed), ssm.head.output(hidden).tanh())


def test_the_objective_compares_the_real_sentences_of_the_batch(ssm, make_patients):
    features, batch = make_patients((3, 1, 2))
    rows, identity, patient = [], [], []
    for b, sentences in enumerate(batch.sentences):
        for i in range(len(sentences)):
            rows.append(ssm.visual(features.informed_sentences[b, i][None])[0])
            identity.append(features.identity[b, i])
            patient.append(b)
    pairs = compare_sentences(torch.stack(rows), torch.stack(identity), torch.tensor(patient))
    ours = ssm.compare(features, batch)
    for name, value in vars(pairs).items():
        torch.testing.assert_close(getattr(ours, name), value)
    torch.testing.assert_close(ssm(features, batch), ssm_loss(pairs))


def test_the_objective_uses_its_own_thresholds(make_patients, seeded):
    features, batch = make_patients((1, 1, 1))
    identity = torch.zeros_like(features.identity)
    identity[:, 0, :2] = torch.tensor([*two_vectors(0.95), two_vectors(0.4)[1]])
    features = replace(features, identity=identity)
    for thresholds, decided in [
        ({}, [True, True]),  # 0.95 is the same, 0.4 is different
        ({"same_above": 0.97}, [False, True]),
        ({"different_below": 0.3}, [True, False]),
    ]:
        ssm = seeded(SSM, dim=16, **thresholds)
        assert ssm.compare(features, batch).decided[0, 1:].tolist() == decided


def test_the_objective_s_gradient_reaches_the_informed_sentences(ssm, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, ssm(features, batch)) == {"informed_sentences"}
    assert not features.informed_sentences.grad[batch.sentence_padding].any()
    assert all(p.grad.any() for p in ssm.parameters())


def test_the_objective_does_not_depend_on_the_order_of_patients(ssm, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(ssm(*in_order(features, batch, [2, 0, 1])), ssm(features, batch))


def test_one_sentence_each_is_enough_and_an_empty_report_is_left_out(ssm, make_patients):
    assert torch.isfinite(ssm(*make_patients((1, 1))))
    features, batch = make_patients((2, 0, 1))
    pairs = ssm.compare(features, batch)
    assert pairs.patient.tolist() == [0, 0, 2]
    assert pairs.weight.sum().item() == pytest.approx(1)


def test_one_patient_is_refused_by_the_objective(ssm, make_patients):
    with pytest.raises(ValueError, match="batch_size >= 2"):
        ssm(*make_patients((3,)))


def test_planted_agreement_costs_almost_nothing_and_clash_does(ssm, make_patients):
    features, batch = make_patients((1, 1))
    same = features.identity[:1].expand(2, -1, -1)
    alike = features.informed_sentences[:1].expand(2, -1, -1)
    assert ssm(replace(features, identity=same, informed_sentences=alike), batch) < 1e-5
    other = torch.cat([same[:1], -same[:1]])
    assert ssm(replace(features, identity=other, informed_sentences=alike), batch) > 0.99


def test_no_constant_cosine_beats_the_collapsed_loss():
    for seed in range(5):
        visual, identity, patient = random_pairs(seed=seed)
        pairs = compare_sentences(visual, identity, torch.tensor(patient))
        costs = [
            ssm_loss(replace(pairs, visual=torch.full_like(pairs.visual, c)))
            for c in torch.linspace(-1, 1, 2001)
        ]
        torch.testing.assert_close(
            collapsed_loss(pairs), torch.stack(costs).min(), atol=1e-3, rtol=0
        )
        assert collapsed_loss(pairs) <= torch.stack(costs).min() + 1e-6


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [
        ((1.0, 1.0, 0.0), 1 / 3),  # the median is 1
        ((1.0, 0.0, 0.0), 1 / 3),  # the median is 0
        ((1.0, 0.75, 0.75), 0.0),  # one decided pair is always met
        ((0.75, 0.75, 0.75), 0.0),  # nothing is decided
    ],
)
def test_collapsed_loss_by_hand(cosines, expected):
    first = [1.0, 0.0]
    others = [two_vectors(c)[1] for c in cosines]
    identity = torch.tensor([first, *others])
    pairs = compare_sentences(torch.randn(4, 3), identity, torch.tensor([0, 1, 1, 1]))
    assert collapsed_loss(pairs).item() == pytest.approx(expected, abs=1e-6)
