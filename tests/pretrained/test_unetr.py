import pytest
import torch

import mg3d
from mg3d.encoders import build_encoder
from mg3d.pretrained.load import load_pretrained
from mg3d.pretrained.unetr import to_swin_unetr


@pytest.mark.parametrize("merging", ["released", "monai"])
def test_swin_unetr_gives_the_five_maps_of_the_encoder(swin, small_swin, volume, merging):
    encoder = build_encoder("swin3d", **small_swin, merging=merging).eval()
    encoder.load_state_dict(swin.state_dict())
    unetr = to_swin_unetr(encoder, 3).eval()
    with torch.no_grad():
        maps, expected = unetr.swinViT(volume), encoder(volume)
        assert unetr(volume).shape == (1, 3, 32, 64, 32)
    assert len(maps) == len(expected) == 5
    for one, other in zip(maps, expected, strict=True):
        # Unit variance per place; two implementations may sum in another order.
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    assert maps[-1].std() > 0.5


def test_the_two_mergings_give_other_maps_so_the_test_above_can_fail(swin, small_swin, volume):
    other = build_encoder("swin3d", **small_swin, merging="monai").eval()
    other.load_state_dict(swin.state_dict())
    with torch.no_grad():
        difference = to_swin_unetr(other, 2).eval().swinViT(volume)[-1] - swin(volume)[-1]
    assert difference.abs().max() > 0.1


def test_skip_blocks_of_a_released_checkpoint_are_handed_over(
    small_swin, released_file, swin, tmp_path
):
    donor = to_swin_unetr(swin, 2).state_dict()
    skips = {name: t + 1 for name, t in donor.items() if name.startswith("encoder")}
    assert {name.split(".")[0] for name in skips} == {
        "encoder1", "encoder2", "encoder3", "encoder4", "encoder10"
    }  # fmt: skip
    content = {**released_file, **{f"vision_encoder.{name}": t for name, t in skips.items()}}
    torch.save(content, tmp_path / "a.pt")
    loaded = load_pretrained(tmp_path / "a.pt", encoder_settings=small_swin, log=lambda _: None)
    assert loaded.skip_blocks.keys() == skips.keys()
    state = mg3d.to_swin_unetr(loaded, 2).state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in skips.items())
    fresh = to_swin_unetr(loaded, 2, skip_blocks={}).state_dict()
    assert not any(torch.equal(fresh[name], tensor) for name, tensor in skips.items())


def test_a_skip_block_of_another_size_is_refused(swin):
    wrong = {"encoder1.layer.conv1.conv.weight": torch.ones(5, 1, 3, 3, 3)}
    with pytest.raises(ValueError, match=r"shape \[5, 1, 3, 3, 3\], SwinUNETR expects \[12, 1,"):
        to_swin_unetr(swin, 2, skip_blocks=wrong)
    with pytest.raises(ValueError, match="no such tensor"):
        to_swin_unetr(swin, 2, skip_blocks={"encoder7.weight": torch.ones(1)})


def test_weights_are_copied_not_shared(swin):
    unetr = to_swin_unetr(swin, 2)
    before = {name: tensor.clone() for name, tensor in swin.state_dict().items()}
    with torch.no_grad():
        for parameter in unetr.parameters():
            parameter.add_(1)
    assert all(torch.equal(tensor, before[name]) for name, tensor in swin.state_dict().items())


def test_an_encoder_that_is_no_swin_is_refused():
    with pytest.raises(TypeError, match="got UNet3DEncoder"):
        to_swin_unetr(build_encoder("unet3d", channels=(4, 8, 8, 8)), 2)
