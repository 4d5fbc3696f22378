from dataclasses import replace

import pytest
import torch
from torch import nn

from mg3d.objectives.mim import MIM, coarsen, hidden_error, mean_volume_loss
from mg3d.objectives.objective import TrainingPatients


@pytest.fixture
def mim(seeded):
    return seeded(MIM, dim=16, token_stride=8)


def voxels(*values):
    return torch.tensor(values).view(1, 1, 1, 1, -1)


def test_hidden_error_by_hand():
    total, count = hidden_error(
        voxels(1.0, 0.5, 0.0, 0.0), voxels(0.0, 0.0, 0.0, 1.0), voxels(1.0, 1.0, 1.0, 0.0)
    )
    assert (total.item(), count.item()) == (1.25, 3.0)  # the last voxel was seen


def test_equals_the_definition_written_as_loops(mim, make_patients):
    features, batch = make_patients()
    filled = mim.reconstruct(features)
    errors = []
    for place in batch.voxel_mask.nonzero():
        at = tuple(place)
        errors.append((filled[at] - batch.volume[at]) ** 2)
    torch.testing.assert_close(mim(features, batch), torch.stack(errors).mean())


def test_the_decoder_is_the_published_stack_of_stages(mim, make_patients):
    layers = []
    for convolution in mim.convolutions:
        layers += [
            convolution,
            nn.InstanceNorm3d(convolution.out_channels),
            nn.LeakyReLU(0.01),
            nn.Upsample(scale_factor=2, mode="trilinear"),
        ]
    plain = nn.Sequential(*layers, mim.output)  # the output after the doubling, not before
    tokens = torch.randn(2, 16, 2, 1, 3)
    torch.testing.assert_close(mim.decode(tokens), plain(tokens), atol=1e-5, rtol=1e-4)


def test_recomputing_changes_neither_voxels_nor_gradients(seeded):
    results = []
    for checkpointing in (False, True):
        mim = seeded(MIM, dim=16, token_stride=8, checkpointing=checkpointing)
        calls = []
        mim.output.register_forward_pre_hook(lambda *_, seen=calls: seen.append(1))
        tokens = torch.linspace(-1, 1, 2 * 16 * 6).view(2, 16, 1, 2, 3).requires_grad_()
        filled = mim.decode(tokens)
        filled.square().sum().backward()
        assert len(calls) == 1 + checkpointing
        results.append([filled, tokens.grad, *(p.grad for p in mim.parameters())])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*results, strict=True))


@pytest.mark.parametrize(
    ("stride", "output_stride", "widths"),
    [
        (32, 1, [768, 384, 192, 96, 48, 48]),
        (32, 2, [768, 384, 192, 96, 48]),
        (16, 1, [768, 384, 192, 96, 48]),
        (16, 2, [768, 384, 192, 96]),
        (16, 8, [768, 384]),
    ],
)
def test_widths_halve_down_to_a_sixteenth(stride, output_stride, widths):
    with torch.device("meta"):
        mim = MIM(dim=768, token_stride=stride, output_stride=output_stride)
    chain = [mim.convolutions[0].in_channels, *(c.out_channels for c in mim.convolutions)]
    assert chain == widths
    assert mim.output.in_channels == widths[-1]


def test_tokens_stand_on_their_grid_in_c_order(mim, make_patients):
    features, _ = make_patients()
    grid = features.token_grid  # (2, 1, 2)
    by_hand = torch.zeros(3, 16, *grid)
    number = 0
    for h in range(grid[0]):
        for w in range(grid[1]):
            for e in range(grid[2]):
                by_hand[:, :, h, w, e] = features.filled_visual_tokens[:, number]
                number += 1
    torch.testing.assert_close(mim.reconstruct(features), mim.decode(by_hand))


@pytest.mark.parametrize("output_stride", [1, 2, 4])
def test_the_reconstruction_is_as_large_as_its_target(make_patients, seeded, output_stride):
    features, batch = make_patients()
    mim = seeded(MIM, dim=16, token_stride=8, output_stride=output_stride)
    target, hidden = coarsen(batch.volume, batch.voxel_mask, output_stride)
    filled = mim.reconstruct(features)
    assert filled.shape == target.shape == hidden.shape
    expected = ((filled - target) ** 2 * hidden).sum() / hidden.sum()
    torch.testing.assert_close(mim(features, batch), expected)


def test_coarse_targets_are_means_of_cubes():
    volume = torch.arange(16.0).view(1, 1, 2, 2, 4)
    hidden = torch.zeros(1, 1, 2, 2, 4).bool()
    hidden[..., :2] = True
    target, share = coarsen(volume, hidden, 2)
    assert target.flatten().tolist() == [6.5, 8.5]
    assert share.flatten().tolist() == [1.0, 0.0]


def test_seen_voxels_cost_nothing(mim, make_patients):
    features, batch = make_patients()
    changed = torch.where(batch.voxel_mask, batch.volume, 0.9)
    torch.testing.assert_close(mim(features, replace(batch, volume=changed)), mim(features, batch))
    changed = torch.where(batch.voxel_mask, batch.volume + 1, batch.volume)
    assert not torch.isclose(mim(features, replace(batch, volume=changed)), mim(features, batch))


def test_equals_the_released_loss_at_one_half_and_differs_by_its_factor_elsewhere():
    torch.manual_seed(0)
    target, filled = torch.rand(2, 1, 4, 4, 4), torch.rand(2, 1, 4, 4, 4)
    for hidden_share in (0.5, 0.75):
        hidden = torch.zeros(2, 64)
        hidden[:, : int(64 * hidden_share)] = 1
        hidden = hidden.view(2, 1, 4, 4, 4)
        kept = 1 - hidden_share
        released = (hidden * (filled - target)).square().mean() / kept
        total, count = hidden_error(filled, target, hidden)
        torch.testing.assert_close(released, total / count * (1 - kept) / kept)


def test_gradient_reaches_the_filled_tokens_only(mim, make_patients, reached):
    features, batch = make_patients()
    assert reached(features, mim(features, batch)) == {"filled_visual_tokens"}
    assert batch.volume.grad is None
    # A convolution's bias in front of instance norm has no effect and so no gradient.
    weights = [c.weight for c in mim.convolutions] + list(mim.output.parameters())
    assert all(w.grad.any() for w in weights)


def test_does_not_depend_on_the_order_of_patients(mim, make_patients, in_order):
    features, batch = make_patients()
    torch.testing.assert_close(mim(*in_order(features, batch, [2, 0, 1])), mim(features, batch))


def test_one_patient_is_enough(mim, make_patients):
    assert mim(*make_patients((1,))).item() > 0


def test_a_planted_volume_is_learned_below_the_mean_volume(seeded, make_patients):
    features, batch = make_patients((1, 1))
    mim = seeded(MIM, dim=16, token_stride=8, output_stride=4)
    bright = torch.tensor([[1.0, 1, -1, -1], [-1, -1, 1, 1]])  # upper half, lower half
    volume = 0.5 + 0.3 * bright.view(2, 1, 2, 1, 2).repeat_interleave(8, 2).repeat_interleave(
        8, 3
    ).repeat_interleave(8, 4)
    batch = replace(batch, volume=volume)
    features = replace(features, filled_visual_tokens=bright[..., None] * torch.ones(16))
    optimiser = torch.optim.Adam(mim.parameters(), lr=0.02)
    for _ in range(100):
        optimiser.zero_grad()
        loss = mim(features, batch)
        loss.backward()
        optimiser.step()
    trivial = mean_volume_loss(volume.mean(0), volume, batch.voxel_mask, output_stride=4)
    assert trivial.item() == pytest.approx(0.09, rel=1e-5)
    assert loss < 0.3 * trivial


def test_a_whole_volume_is_refused_with_the_way_out(mim, make_patients):
    features, batch = make_patients()
    with pytest.raises(ValueError, match=r"MIM needs hidden voxels.*call batch\.hide"):
        mim(replace(features, filled_visual_tokens=None), batch)


def test_a_single_token_is_refused_with_the_way_out(mim):
    with pytest.raises(ValueError, match=r"at least 2 visual tokens.*larger volume"):
        mim.decode(torch.randn(2, 16, 1, 1, 1))


@pytest.mark.parametrize(("stride", "output_stride"), [(12, 1), (16, 16), (2, 4), (16, 3)])
def test_strides_that_doubling_does_not_join_are_refused(stride, output_stride):
    with pytest.raises(ValueError, match=r"2, 4, 8, .* times output_stride"):
        MIM(dim=16, token_stride=stride, output_stride=output_stride)


def test_mean_volume_by_hand():
    mean = torch.full((1, 1, 1, 4), 0.5)
    loss = mean_volume_loss(mean, voxels(0.0, 1.0, 0.5, 9.0), voxels(True, True, True, False))
    assert loss.item() == pytest.approx((0.25 + 0.25 + 0) / 3)


def test_mean_volume_at_half_resolution_is_compared_at_half_resolution():
    torch.manual_seed(0)
    volume, hidden = torch.rand(3, 1, 4, 4, 8), torch.rand(3, 1, 4, 4, 8) < 0.5
    mean = volume.mean(0)
    target, share = coarsen(volume, hidden, 2)
    guess, _ = coarsen(mean[None], hidden[:1], 2)
    expected = ((guess - target) ** 2 * share).sum() / share.sum()
    torch.testing.assert_close(mean_volume_loss(mean, volume, hidden, output_stride=2), expected)


def test_the_mean_volume_is_taken_at_the_output_s_resolution_if_asked_for():
    volume = torch.rand(1, 8, 8, 8)
    train = TrainingPatients(lambda: volume, lambda: torch.zeros(1))
    with_mean = MIM(16, 4, 2, mean_shape=(8, 8, 8))
    with_mean.start(train)
    halves = volume.reshape(1, 4, 2, 4, 2, 4, 2).mean(dim=(2, 4, 6))
    torch.testing.assert_close(with_mean.mean[0], halves)
    without = MIM(16, 4, 2)
    without.start(train)
    assert without.mean is None
