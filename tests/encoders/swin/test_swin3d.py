import subprocess
import sys

import pytest
import torch

from mg3d.encoders.swin.swin3d import Swin3DEncoder


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


@pytest.fixture(scope="module")
def as_shipped():
    """MONAI's own transformer, of the same size, with weights that are not near zero."""
    from monai.networks.nets.swin_unetr import SwinTransformer

    torch.manual_seed(0)
    theirs = SwinTransformer(
        1, 12, (4,) * 3, (2,) * 3, depths=(2, 2, 2, 2), num_heads=(1, 2, 4, 8), downsample="merging"
    )
    for name, parameter in theirs.named_parameters():
        if parameter.ndim == 1 or name.endswith("bias_table"):
            torch.nn.init.normal_(parameter, mean=float(name.endswith("weight")), std=0.3)
    return theirs


def repaired(theirs):
    ours = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4, merging="monai")
    ours.transformer.load_state_dict(theirs.state_dict())
    return ours


def test_names_shapes_and_tables_are_those_of_monai(small, as_shipped):
    ours, theirs = small.transformer.state_dict(), as_shipped.state_dict()
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in theirs.items()}
    tables = [name for name in ours if name.endswith("relative_position_index")]
    assert len(tables) == 8
    assert all(torch.equal(ours[name], theirs[name]) for name in tables)


# Padded windows, shifted windows, and stages smaller than a window.
@pytest.mark.parametrize("shape", [(32, 64, 32), (32, 32, 96)])
def test_maps_and_gradients_equal_monai_as_shipped(as_shipped, shape):
    ours = repaired(as_shipped)
    torch.manual_seed(0)
    volume = torch.rand(2, 1, *shape)
    gradients = []
    for encoder in (ours, as_shipped):
        seen = volume.clone().requires_grad_()
        maps = encoder(seen)
        weights = [torch.linspace(-1, 1, m.numel()).view(m.shape).cos() for m in maps]
        loss = sum((m * w).sum() for m, w in zip(maps, weights, strict=True))
        learned = dict(encoder.named_parameters())
        found = torch.autograd.grad(loss, [seen, *learned.values()])
        names = ["volume", *(name.removeprefix("transformer.") for name in learned)]
        gradients.append((maps, dict(zip(names, found, strict=True))))
    (our_maps, ours_by_name), (their_maps, theirs_by_name) = gradients
    for mine, other in zip(our_maps, their_maps, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=2e-5)  # float32, sums in another order
    for name, other in theirs_by_name.items():
        difference = (ours_by_name[name] - other).abs().max() / other.abs().max()
        assert difference < 1e-4, name


def test_bfloat16_autocast_is_as_near_as_monai_is(as_shipped):
    ours = repaired(as_shipped)
    volume = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = as_shipped(volume)
        with torch.autocast("cpu", torch.bfloat16):
            near, theirs = ours(volume), as_shipped(volume)
    for mine, other, reference in zip(near, theirs, exact, strict=True):
        assert mine.dtype == other.dtype
        error, allowed = ((m.float() - reference).std() for m in (mine, other))
        assert 0 < error < 1.5 * allowed


def test_gradient_reaches_every_parameter(small):
    weights = torch.randn(192, generator=torch.Generator().manual_seed(0))[:, None, None, None]
    small.zero_grad()
    (small(torch.rand(1, 1, 64, 64, 64))[-1] * weights).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in small.parameters())


def test_a_compiled_encoder_gives_the_same_maps_and_gradients(repository):
    # In a process of its own, without the checks of shapes, which the compiler cannot read; traced
    # as in earnest (backend "eager"), without the minutes of optimising.
    code = """
import torch
from mg3d.encoders.swin.swin3d import Swin3DEncoder
plain = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4)
fast = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4)
fast.load_state_dict(plain.state_dict())
fast.compile(backend="eager")
volume = torch.rand(1, 1, 32, 32, 32)
maps = [encoder(volume) for encoder in (plain, fast)]
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
torch.testing.assert_close(*maps)
for found in maps:
    found[-1].pow(3).sum().backward()
grads = [encoder.transformer.patch_embed.proj.weight.grad for encoder in (plain, fast)]
torch.testing.assert_close(*grads)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_the_encoder_does_not_need_monai(repository):
    code = (
        "import sys, torch; from mg3d.encoders import build_encoder; "
        "swin = build_encoder('swin3d', embed_dim=12, num_heads=(1, 2, 4, 8)); "
        "swin(torch.rand(1, 1, 32, 32, 32)); "
        "sys.exit('monai' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository).returncode == 0
