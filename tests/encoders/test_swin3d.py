import pytest
import torch

from mg3d.encoders.swin3d import ReleasedPatchMerging, Swin3DEncoder


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4)


def test_maps_run_from_fine_to_coarse_on_the_axes_of_the_volume(small):
    maps = small(torch.rand(1, 1, 32, 64, 32))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (12, 16, 32, 16),
        (24, 8, 16, 8),
        (48, 4, 8, 4),
        (96, 2, 4, 2),
        (192, 1, 2, 1),
    ]
    assert (small.width, small.stride, small.channels) == (192, 32, (12, 24, 48, 96, 192))


def test_every_place_is_normalised_over_its_channels(small):
    last = small(torch.rand(1, 1, 32, 64, 32))[-1]
    torch.testing.assert_close(last.mean(1), torch.zeros_like(last[:, 0]), atol=1e-5, rtol=0)
    variance = last.var(1, unbiased=False)
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=1e-2, rtol=0)


def test_sizes_b_and_l_have_the_published_number_of_parameters():
    def count(encoder):
        return sum(p.numel() for p in encoder.parameters())

    assert count(Swin3DEncoder()) == 8_062_002
    assert count(Swin3DEncoder(embed_dim=96)) == 31_593_474


def test_the_released_merging_takes_two_neighbours_twice_and_two_never():
    merging = ReleasedPatchMerging(1)
    merging.norm = torch.nn.Identity()
    merging.reduction = torch.nn.Identity()
    block = torch.tensor([[100 * i + 10 * j + k for k in (0, 1)] for i in (0, 1) for j in (0, 1)])
    seen = merging(block.view(1, 2, 2, 2, 1).float()).flatten().int().tolist()
    assert seen == [0, 100, 10, 1, 101, 10, 1, 111]


def test_the_repaired_merging_gives_other_features_from_the_same_weights(small):
    torch.manual_seed(0)
    repaired = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4, merging="monai")
    repaired.load_state_dict(small.state_dict())  # loads without a word: that is the trap
    volume = torch.rand(1, 1, 32, 32, 32)
    finest, last = (small(volume)[i] - repaired(volume)[i] for i in (0, -1))
    assert finest.abs().max() == 0
    assert last.abs().max() > 0.1


def test_checkpointing_computes_twice_and_changes_no_gradient():
    gradients, calls = [], {False: 0, True: 0}
    for checkpointing in calls:
        torch.manual_seed(0)
        encoder = Swin3DEncoder(
            embed_dim=12, num_heads=(1, 2, 4, 8), window=4, checkpointing=checkpointing
        )

        def count(*_, checkpointing=checkpointing):
            calls[checkpointing] += 1

        encoder.transformer.layers1[0].blocks[0].attn.register_forward_pre_hook(count)
        volume = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
        encoder(volume)[-1].pow(3).sum().backward()
        gradients.append(encoder.transformer.patch_embed.proj.weight.grad)
    assert calls == {False: 1, True: 2}
    assert gradients[0].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_a_volume_that_does_not_fit_is_refused_with_the_nearest_that_does(small):
    with pytest.raises(ValueError, match=r"divisible by 32.*nearest that fits is \(96, 96, 128\)"):
        small(torch.rand(1, 1, 100, 96, 128))


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="released, monai; got 'v2'"):
        Swin3DEncoder(merging="v2")
    with pytest.raises(ValueError, match="four numbers each"):
        Swin3DEncoder(depths=(2, 2))
    with pytest.raises(ValueError, match=r"must divide the stages' channels \(16, 32, 64, 128\)"):
        Swin3DEncoder(embed_dim=16)
    with pytest.raises(ValueError, match="3 spatial axes"):
        ReleasedPatchMerging(4, spatial_dims=2)
