import pytest
import torch

from mg3d.explain.gradients import grad_cam, integrated_gradients

VOLUME, BASELINE = torch.rand(2, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.randn(2, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def linear(volumes):
    return (volumes[:, 0].unsqueeze(1) * WEIGHTS).sum((2, 3, 4))


def squared(volumes):
    return linear(volumes) ** 2


@pytest.mark.parametrize("steps", [1, 3])
def test_of_a_linear_score_the_map_is_weight_times_difference(steps):
    maps = integrated_gradients(linear, VOLUME, BASELINE, torch.eye(2), steps=steps)
    assert torch.allclose(maps, WEIGHTS * (VOLUME - BASELINE), atol=1e-6)


def test_a_map_sums_to_the_change_of_the_score():
    maps = integrated_gradients(squared, VOLUME, BASELINE, torch.eye(2), steps=2)
    change = squared(VOLUME[None]) - squared(BASELINE[None])
    assert torch.allclose(maps.sum((1, 2, 3)), change[0], rtol=1e-4)
    halves = integrated_gradients(squared, VOLUME, BASELINE, torch.tensor([[0.5, 0.5]]), steps=2)
    assert torch.allclose(halves[0], maps.mean(0), atol=1e-5)


def test_captum_gives_the_same_map():
    captum = pytest.importorskip("captum.attr")
    method = captum.IntegratedGradients(lambda volume: squared(volume)[:, 1])
    theirs = method.attribute(
        VOLUME[None], BASELINE[None], n_steps=7, method="riemann_middle", internal_batch_size=7
    )
    ours = integrated_gradients(squared, VOLUME, BASELINE, torch.tensor([[0.0, 1.0]]), steps=7)
    assert torch.allclose(ours, theirs[0].float(), atol=1e-4)


def test_no_steps_are_refused():
    with pytest.raises(ValueError, match="at least 1 step, got 0"):
        integrated_gradients(linear, VOLUME, BASELINE, torch.eye(2), steps=0)


class Encoder(torch.nn.Module):
    """Two maps: the volume and its negative as channels, and a coarser one."""

    def forward(self, volume):
        fine = torch.cat([volume, -volume], dim=1)
        return fine, fine[:, :, ::2, ::2, ::2]


def test_grad_cam_weights_each_channel_by_its_mean_gradient():
    encoder = Encoder()

    def target(volumes):
        coarse = encoder(volumes)[-1].mean((2, 3, 4))  # (B, 2)
        return coarse @ torch.tensor([[3.0], [1.0]])

    heat = grad_cam(target, encoder, VOLUME, torch.ones(1, 1))
    assert heat.shape == (1, 2, 2, 2)
    # Gradients of a mean over 8 places are 3/8 and 1/8; the second channel is the negative.
    assert torch.allclose(heat[0], (3 - 1) / 8 * VOLUME[0, ::2, ::2, ::2], atol=1e-6)
    assert grad_cam(target, encoder, VOLUME, torch.ones(1, 1), level=0).shape == (1, 4, 4, 4)
