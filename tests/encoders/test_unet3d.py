import pytest
import torch

from mg3d.encoders.maps import normalise_channels
from mg3d.encoders.unet3d import UNet3DEncoder


def volumes(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_maps_run_from_fine_to_coarse_on_the_axes_of_the_volume():
    encoder = UNet3DEncoder()
    maps = encoder(volumes(2, 1, 48, 32, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16, 24, 16, 32),
        (32, 12, 8, 16),
        (64, 6, 4, 8),
        (96, 3, 2, 4),
    ]
    assert encoder.stride == 16
    assert encoder.width == 96


def test_other_channels_give_other_stages():
    encoder = UNet3DEncoder(channels=(4, 8), blocks_per_stage=2)
    assert (encoder.stride, encoder.width) == (4, 8)
    assert [m.shape[1] for m in encoder(volumes(1, 1, 8, 8, 8))] == [4, 8]


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_every_place_of_every_map_is_normalised_over_its_channels(norm):
    torch.manual_seed(0)
    for features in UNet3DEncoder(norm=norm)(volumes(2, 1, 32, 32, 32)):
        torch.testing.assert_close(
            features.mean(1), torch.zeros_like(features[:, 0]), atol=1e-5, rtol=0
        )
        variance = features.var(1, unbiased=False)
        torch.testing.assert_close(
            variance, torch.ones_like(variance), atol=0.1, rtol=0
        )  # eps 1e-5


def test_the_next_stage_reads_the_map_before_it_was_normalised():
    encoder = UNet3DEncoder(channels=(4, 8))
    volume = volumes(1, 1, 16, 16, 16)
    raw = encoder.stages[1](encoder.stages[0](volume))
    torch.testing.assert_close(encoder(volume)[-1], normalise_channels(raw))


def test_a_residual_block_adds_to_its_input():
    torch.manual_seed(0)
    volume = volumes(1, 1, 16, 16, 16)
    stage = UNet3DEncoder(channels=(4,), blocks_per_stage=2).stages[0]
    halved = stage.halve(volume)
    torch.testing.assert_close(stage(volume), halved + stage.refine[0](halved))
    stage.residual = False
    torch.testing.assert_close(stage(volume), stage.refine[0](halved))


def test_patients_of_a_batch_do_not_change_each_other():
    encoder, volume = UNet3DEncoder(), volumes(3, 1, 32, 32, 32)
    torch.testing.assert_close(encoder(volume)[-1][1:2], encoder(volume[1:2])[-1])


def test_training_and_evaluation_give_the_same_features():
    encoder, volume = UNet3DEncoder(), volumes(1, 1, 32, 32, 32)
    torch.testing.assert_close(encoder.train()(volume)[-1], encoder.eval()(volume)[-1])


def test_gradient_reaches_every_parameter():
    encoder = UNet3DEncoder(channels=(4, 8), blocks_per_stage=2)
    weights = torch.randn(8, generator=torch.Generator().manual_seed(0))[:, None, None, None]
    (encoder(volumes(1, 1, 16, 16, 16))[-1] * weights).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_a_volume_that_does_not_fit_is_refused_with_the_nearest_that_does():
    with pytest.raises(
        ValueError,
        match=r"shape \(100, 96, 7\) must be divisible by 16.*nearest that fits is \(96, 96, 16\)",
    ):
        UNet3DEncoder()(volumes(1, 1, 100, 96, 7))


def test_a_map_of_one_voxel_is_refused_where_it_would_become_0():
    with pytest.raises(ValueError, match=r"single voxel.*norm='group'"):
        UNet3DEncoder()(volumes(1, 1, 16, 16, 16))
    assert UNet3DEncoder(norm="group")(volumes(1, 1, 16, 16, 16))[-1].abs().sum() > 0


def test_settings_without_meaning_are_refused():
    with pytest.raises(ValueError, match="at least one stage"):
        UNet3DEncoder(channels=())
    with pytest.raises(ValueError, match="instance, group; got 'batch'"):
        UNet3DEncoder(norm="batch")


def test_recomputing_changes_neither_maps_nor_gradients():
    torch.manual_seed(0)
    kept = UNet3DEncoder(channels=(4, 8), blocks_per_stage=2)
    again = UNet3DEncoder(channels=(4, 8), blocks_per_stage=2, checkpointing=True)
    again.load_state_dict(kept.state_dict())
    calls = []
    again.stages[0].register_forward_pre_hook(lambda *_: calls.append(1))
    results = []
    for encoder in (kept, again):
        last = encoder(volumes(1, 1, 16, 16, 16))[-1]
        last.square().mul(torch.arange(8.0)[:, None, None, None]).sum().backward()
        results.append([last, *(p.grad for p in encoder.parameters())])
    assert len(calls) == 2
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)
