import pytest
import torch
from torch import nn

from mg3d.encoders import build_encoder
from mg3d.model import build_model
from mg3d.pretrained.export import to_released
from mg3d.pretrained.released_names import why_unused
from mg3d.training.step import build_pretraining


def test_every_part_gets_its_official_names(swin, swin_config, text_encoder):
    names = set(to_released(swin))
    assert names == {f"vision_encoder.{name}" for name in swin.transformer.state_dict()}
    model = set(to_released(build_model(swin_config, text_encoder)))
    assert names < model
    assert "multi_modal_vision_proj.weight" in model
    whole = set(to_released(build_pretraining(swin_config, text_encoder)))
    assert model < whole
    assert "itc_cross_head.vision_proj.weight" in whole
    assert not any(map(why_unused, whole))


def test_what_is_exported_is_a_copy(swin):
    exported = to_released(swin)["vision_encoder.patch_embed.proj.bias"]
    own = swin.transformer.patch_embed.proj.bias
    assert torch.equal(exported, own)
    exported += 1
    assert not torch.equal(exported, own)


def test_what_no_released_checkpoint_holds_is_refused(config, text_encoder):
    with pytest.raises(ValueError, match="have no counterpart in one"):
        to_released(build_pretraining(config, text_encoder))  # a UNet, and the objective clip
    with pytest.raises(ValueError, match="encoder='swin3d'"):
        to_released(build_encoder("unet3d", channels=(4, 8, 8, 8)))
    with pytest.raises(TypeError, match="got Linear"):
        to_released(nn.Linear(2, 2))
