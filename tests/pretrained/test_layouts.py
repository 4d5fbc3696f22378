import pytest
import torch

from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.pretrained.layouts import (
    BARE,
    DESCENDANT,
    MONAI,
    OURS,
    RELEASED,
    has_conv_blocks,
    recognise,
    size_name,
    swin_settings,
)

NAMES = [
    "patch_embed.proj.weight",
    "layers1.0.blocks.0.norm1.weight",
    "layers4.0.downsample.norm.bias",
]


def under(prefix):
    return [prefix + name for name in NAMES]


@pytest.mark.parametrize(
    ("prefix", "kind", "root", "merging"),
    [
        ("vision_encoder.", RELEASED, "vision_encoder.", "released"),
        ("model.vision_encoder.", RELEASED, "model.vision_encoder.", "released"),
        ("swinViT.", MONAI, "", "monai"),
        ("net.model.swinViT.", MONAI, "net.model.", "monai"),
        ("backbone.swinViT.", DESCENDANT, "backbone.", "released"),
        ("student.backbone.swinViT.", DESCENDANT, "student.backbone.", "released"),
        ("swin.", DESCENDANT, "swin.", "released"),
        ("", BARE, "", "released"),
        ("transformer.", OURS, "transformer.", "released"),
        ("model.encoder.transformer.", OURS, "model.encoder.transformer.", "released"),
    ],
)
def test_the_prefix_says_whose_file_it_is(prefix, kind, root, merging):
    layout = recognise([*under(prefix), "decoder1.weight"])
    assert (layout.kind, layout.prefix, layout.root) == (kind, prefix, root)
    assert layout.merging == merging
    assert [layout.model_key(name) for name in under(prefix)] == NAMES


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        ("module.vision_encoder.", "vision_encoder."),
        ("_orig_mod.swinViT.", "swinViT."),
        ("swinViT._orig_mod.", "swinViT."),
        ("module.backbone.swinViT.", "backbone.swinViT."),
        ("_fsdp_wrapped_module.model._forward_module.swinViT.module.", "model.swinViT."),
        ("module.", ""),
    ],
)
def test_a_wrapper_in_the_keys_decides_nothing(wrapped, plain):
    layout = recognise(under(wrapped))
    assert layout == recognise(under(plain))
    assert [layout.model_key(key) for key in under(wrapped)] == NAMES
    assert all(layout.is_inside(key) for key in under(wrapped))


def test_what_belongs_to_the_transformer_is_known_although_it_has_no_such_layer():
    layout = recognise(under("model.swinViT."))
    assert layout.is_inside("model._orig_mod.swinViT.norm.weight")
    assert layout.is_inside("model.swinViT.whatever")
    assert not layout.is_inside("model.decoder1.weight")
    bare = recognise(under("module."))
    assert bare.is_inside("module.layers5.0.blocks.0.norm1.weight")
    assert bare.is_inside("module.patch_embed.norm.weight")
    assert not bare.is_inside("module.rotation_head.weight")


def test_the_choice_of_merging_says_how_to_choose_the_other():
    assert "merging='released'" in recognise(under("swinViT.")).why
    assert "merging='monai'" in recognise(under("backbone.swinViT.")).why


def test_weights_with_the_older_names_of_the_mlp_are_older_than_the_repair():
    layout = recognise([*under("swinViT."), "swinViT.layers1.0.blocks.0.mlp.fc1.weight"])
    assert layout.merging == "released"
    assert layout.model_key("swinViT.layers1.0.blocks.0.mlp.fc1.weight") == (
        "layers1.0.blocks.0.mlp.linear1.weight"
    )


def test_of_two_encoders_the_fuller_and_then_the_first_is_taken():
    assert recognise([*under("teacher.")[:2], *under("student.")]).prefix == "student."
    assert recognise([*under("teacher."), *under("student.")]).prefix == "student."
    assert recognise([*under("ema_model.module.net."), *under("net.")]).prefix == "net."
    layout = recognise([*under("student."), *under("teacher.")])
    assert layout.prefix == "student."
    assert layout.model_key("teacher.patch_embed.proj.weight") is None
    assert layout.reason("teacher.patch_embed.proj.weight") == "a second encoder, 'teacher.'"


def test_what_lies_beside_the_encoder_is_known_by_name():
    layout = recognise(under("module.net.swinViT."))
    assert layout.skip_block("module.net.encoder10.layer.conv1.conv.weight") == (
        "encoder10.layer.conv1.conv.weight"
    )
    assert layout.skip_block("encoder10.layer.conv1.conv.weight") is None  # outside the root
    assert "skip block" in layout.reason("module.net.encoder1.layer.conv1.conv.weight")
    assert "decoder" in layout.reason("module.net.decoder5.transp_conv.conv.weight")
    assert "decoder" in layout.reason("net.out.conv.conv.weight")
    assert "index table" in layout.reason("text.embeddings.position_ids")
    assert layout.reason("net.rotation_head.weight") is None


def test_the_rest_of_mg3d_is_known_by_name_and_a_stranger_is_not():
    layout = recognise(under("vision_encoder."))
    assert "part='pretraining'" in layout.reason("multi_modal_vision_proj.weight")
    assert "part='pretraining'" in layout.reason(
        "local_img_cross_multihead_attention.1.query1.weight"
    )
    assert "never called" in layout.reason("local_cross_attention.0.query1.weight")
    assert "text encoder" in layout.reason("language_encoder.encoder.layer.0.output.dense.bias")
    assert layout.reason("multi_modal_something.weight") is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["visual_transformer.to_patch_emb.1.weight"], "looks like CT-CLIP's CTViT"),
        (["model.encoder.stages.0.halve.0.weight"], "a run of mg3d, away from its state.json"),
        (["bert.embeddings.word_embeddings.weight"], "looks like a text encoder"),
        (["encoder.stages.0.0.convs.0.conv.weight"], "looks like an nnU-Net"),
        (["a", "b"], "none of 2 names is of one; the first are a, b; give"),
        ([], "none at all"),
    ],
)
def test_another_network_is_named(names, message):
    with pytest.raises(ValueError, match=message):
        recognise(names)


def test_conv_blocks_ahead_of_a_stage_are_seen():
    assert has_conv_blocks(["module.swinViT.layers1c.0.conv1.conv.weight"])
    assert not has_conv_blocks(under("swinViT."))


@pytest.mark.parametrize(
    "settings",
    [
        {"embed_dim": 12, "num_heads": (1, 2, 4, 8), "window": 4, "depths": (1, 1, 2, 1)},
        {"embed_dim": 24, "num_heads": (3, 6, 12, 24), "window": 3, "input_channels": 2},
    ],
)
def test_shapes_tell_the_settings(settings):
    usual = {"depths": (2, 2, 2, 2), "patch": 2, "input_channels": 1}
    encoder = Swin3DEncoder(**settings)
    assert swin_settings(encoder.transformer.state_dict()) == usual | settings


def test_what_is_missing_is_not_told():
    assert swin_settings({}) == {}
    some = {"layers1.0.blocks.0.norm1.weight": torch.ones(96)}
    assert swin_settings(some) == {"embed_dim": 96}


def test_sizes_have_the_papers_names():
    assert size_name(48) == "Swin-B, embedding 48"
    assert size_name(96) == "Swin-L, embedding 96"
    assert size_name(24).startswith("neither")
