"""Checkpoints as people have them, by the numbers of the trials they come from.

Each is the small encoder's weights in somebody's manner; what counts is the values of its maps.
"""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mg3d.encoders import build_encoder
from mg3d.pretrained.load import load_pretrained
from mg3d.pretrained.unetr import to_swin_unetr
from mg3d.weights.doctor import CheckpointError


@pytest.fixture(scope="module")
def trained(small_swin):
    """An encoder with the repaired merging, as MONAI trains it, and its SwinUNETR."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(77)
        encoder = build_encoder("swin3d", **small_swin, merging="monai").eval()
        return encoder, to_swin_unetr(encoder, 2).state_dict()


def read(content, tmp_path, **asked):
    path = tmp_path / "a.pt"
    torch.save(content, path)
    return load_pretrained(path, log=lambda _: None, **asked)


def maps(encoder, volume):
    with torch.no_grad():
        return encoder(volume)


def same(loaded, encoder, volume):
    pairs = zip(maps(loaded.encoder, volume), maps(encoder, volume), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize(
    "wrapper",
    [
        *("_orig_mod.", "model.", "net._orig_mod.", "module.", "module._orig_mod.model."),
        *("_forward_module.module.network.", "_fsdp_wrapped_module.", "segmenter."),
    ],
)
def test_15_a_wrapped_swin_unetr_gives_the_maps_of_the_plain_file(
    trained, volume, tmp_path, wrapper
):
    encoder, state = trained
    plain = read(state, tmp_path)
    wrapped = read({wrapper + key: tensor for key, tensor in state.items()}, tmp_path)
    assert same(plain, encoder, volume) and same(wrapped, encoder, volume)
    assert wrapped.skip_blocks.keys() == plain.skip_blocks.keys() and len(plain.skip_blocks) > 5
    again = to_swin_unetr(wrapped, 2).state_dict()
    assert all(torch.equal(again[key], state[key]) for key in plain.skip_blocks)


@pytest.mark.parametrize(
    ("part", "inserted"),
    [
        ("swinViT.", "swinViT._orig_mod."),
        ("swinViT.", "swinViT.module."),
        ("layers1.0.", "layers1.0._checkpoint_wrapped_module."),
        ("layers3.0.blocks.1.", "layers3.0._orig_mod.blocks.1._fsdp_wrapped_module."),
        ("attn.qkv.", "attn.qkv._orig_mod."),
        ("encoder1.", "encoder1._orig_mod."),
    ],
)
def test_15b_a_wrapper_inside_the_tree_changes_neither_maps_nor_skip_blocks(
    trained, volume, tmp_path, part, inserted
):
    encoder, state = trained
    content = {key.replace(part, inserted): tensor for key, tensor in state.items()}
    assert content.keys() != state.keys()
    loaded = read(content, tmp_path)
    assert same(loaded, encoder, volume)
    assert loaded.skip_blocks.keys() == read(state, tmp_path).skip_blocks.keys()
    assert not loaded.report.unexpected


def test_15_the_follower_of_a_trained_network_is_not_taken_for_it(trained, volume, tmp_path):
    encoder, state = trained
    average = {f"ema_model.module.{key}": torch.zeros_like(t) for key, t in state.items()}
    network = {f"net.{key}": tensor for key, tensor in state.items()}
    assert same(read({**average, **network}, tmp_path), encoder, volume)


def test_15_two_versions_of_one_layer_are_refused_and_the_same_twice_is_not(
    trained, volume, tmp_path
):
    encoder, state = trained
    key = "swinViT.layers1.0.blocks.0.attn.qkv.weight"
    content = {**state, f"module.{key}": state[key].clone()}
    assert same(read(content, tmp_path), encoder, volume)
    content[f"module.{key}"] += 1
    with pytest.raises(ValueError, match=rf"two different tensors.*'{key}' and 'module\.{key}'"):
        read(content, tmp_path)


@pytest.mark.parametrize("value", [np.float64(0.5), np.int64(3), np.float32(1), np.bool_(True)])
@pytest.mark.parametrize("zipped", [True, False])
def test_15d_numpy_numbers_beside_the_weights_are_read(trained, volume, tmp_path, value, zipped):
    encoder, state = trained
    content = {"state_dict": state, "best_acc": value}
    torch.save(content, tmp_path / "b.pt", _use_new_zipfile_serialization=zipped)
    loaded = load_pretrained(tmp_path / "b.pt", log=lambda _: None)
    assert same(loaded, encoder, volume)
    assert loaded.report.ignored["best_acc"] == f"no weights: {type(value).__name__}"


def cut_up(state, folder, *, name="model", suffix="safetensors", files=4):
    """As Hugging Face writes a network too large for one file."""
    keys, weight_map = list(state), {}
    for number in range(files):
        part = {key: state[key].contiguous().clone() for key in keys[number::files]}
        file = f"{name}-{number + 1:05}-of-{files:05}.{suffix}"
        if suffix == "safetensors":
            save_file(part, folder / file)
        else:
            torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    index = folder / f"{name}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("model", "safetensors"), ("pytorch_model", "bin"), ("swin", "safetensors")],
)
def test_15e_weights_in_several_files_are_read_whole(trained, volume, tmp_path, name, suffix):
    encoder, state = trained
    index = cut_up(state, tmp_path, name=name, suffix=suffix)
    for path in (tmp_path, index):
        loaded = load_pretrained(path, log=lambda _: None)
        assert same(loaded, encoder, volume)
        assert loaded.skip_blocks.keys() == {k for k in state if k.startswith("encoder")}


def test_15e_one_file_of_several_is_refused_by_name(trained, tmp_path):
    index = cut_up(trained[1], tmp_path)
    first = tmp_path / "model-00001-of-00004.safetensors"
    with pytest.raises(ValueError, match=rf"{first} holds a part.*{index.name}"):
        load_pretrained(first)
    third = tmp_path / "model-00003-of-00004.safetensors"
    third.unlink()
    with pytest.raises(ValueError, match=rf"1 are missing, first {third.name}"):
        load_pretrained(tmp_path)
    index.unlink()
    with pytest.raises(ValueError, match=r"is file 1 of 4, so it holds a part.*give the index"):
        load_pretrained(first)
    with pytest.raises(ValueError, match=r"holds 3 files of weights.*no index of them"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda m: {**m, "swinViT.new": "model-00002-of-00004.safetensors"},
            "1 of them are not in",
        ),
        (lambda m: dict.fromkeys(m, "../model.safetensors"), "in another folder"),
        (lambda m: {}, "names 0 files"),
        (lambda m: [1], "not an index of weights"),
    ],
)
def test_15e_an_index_that_does_not_fit_is_refused(trained, tmp_path, change, message):
    index = cut_up(trained[1], tmp_path)
    weight_map = change(json.loads(index.read_text())["weight_map"])
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(ValueError, match=message):
        load_pretrained(index)


def test_15f_a_torchscript_archive_is_named_as_such(tmp_path):
    traced = torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(1, 2))
    traced.save(str(tmp_path / "model.ts"))
    with pytest.raises(ValueError, match=r"model\.ts is TorchScript.*give the weights.*model\.pt"):
        load_pretrained(tmp_path / "model.ts")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_16_weights_cast_with_their_index_tables_are_read(trained, volume, tmp_path, dtype):
    encoder, state = trained
    loaded = read({key: tensor.to(dtype) for key, tensor in state.items()}, tmp_path)
    expected = build_encoder("swin3d", **encoder.recipe[1]).eval()
    floats = {
        k: t.to(dtype).float() for k, t in encoder.state_dict().items() if t.is_floating_point()
    }
    expected.load_state_dict(encoder.state_dict() | floats)
    assert same(loaded, expected, volume)
    tables = [key for key in loaded.report.ignored if key.endswith("position_index")]
    assert {loaded.report.ignored[key] for key in tables} == {"equals what the module computes"}


def test_16_a_cast_table_of_other_values_is_refused(trained, tmp_path):
    state = {key: tensor.half() for key, tensor in trained[1].items()}
    state["swinViT.layers1.0.blocks.0.attn.relative_position_index"][0, 0] += 1
    with pytest.raises(CheckpointError, match=r"relative_position_index \(other values\)"):
        read(state, tmp_path)


@pytest.mark.parametrize(
    "other",
    [
        {"depths": (2, 2, 6, 2)},
        {"depths": (1, 3, 1, 2)},
        {"num_heads": (3, 3, 6, 12)},
        {"window": 3},
        {"embed_dim": 24},
        {"patch": 4},
    ],
)
@pytest.mark.parametrize("prefix", ["swinViT.", "module.swinViT._orig_mod.", "vision_encoder.", ""])
def test_30_depths_heads_window_and_widths_come_from_the_file(small_swin, tmp_path, other, prefix):
    settings = {**small_swin, **other}
    merging = "monai" if "swinViT" in prefix else "released"
    encoder = build_encoder("swin3d", **settings, merging=merging).eval()
    state = {prefix + key: t for key, t in encoder.transformer.state_dict().items()}
    volume = torch.rand(1, 1, *[encoder.stride] * 3, generator=torch.Generator().manual_seed(3))
    loaded = read(state, tmp_path)
    assert same(loaded, encoder, volume)
    assert len(loaded.encoder.transformer.layers3[0].blocks) == settings.get("depths", [2] * 4)[2]


EXTRA = [
    "layers3.0.blocks.9.norm1.weight",
    "layers1.1.blocks.0.norm1.weight",
    "layers5.0.blocks.0.norm1.weight",
    "layers1.0.blocks.0.norm3.weight",
    "layers1.0.blocks.0.attn.qkv.lora_A.default.weight",
    "layers1.0.blocks.0.attn.q_norm.weight",
    "layers1.0.blocks.0.adapter.down.weight",
    "layers2.0.downsample.conv.weight",
    "patch_embed.norm.weight",
    "norm.weight",
    "absolute_pos_embed",
]


@pytest.mark.parametrize("extra", EXTRA)
@pytest.mark.parametrize("prefix", ["swinViT.", "net._orig_mod.swinViT.", "vision_encoder.", ""])
def test_30_an_unexpected_tensor_inside_the_transformer_is_refused_by_name(
    trained, tmp_path, prefix, extra
):
    state = {prefix + key: t for key, t in trained[0].transformer.state_dict().items()}
    read(state, tmp_path)
    with pytest.raises(CheckpointError) as refused:
        read({**state, prefix + extra: torch.ones(3)}, tmp_path)
    report = refused.value.report
    if "blocks.9" in extra:  # told by the file: ten blocks, of which seven are missing
        assert "are filled, at least 95.0%" in str(refused.value)
    else:
        assert report.stray == (prefix + extra,)
        assert f"layers it does not have, first {prefix}{extra}" in str(refused.value)
        assert ("merge_and_unload" in str(refused.value)) == ("lora" in extra)


def test_30_an_unexpected_tensor_in_a_folder_of_our_own_is_refused(swin, tmp_path):
    from safetensors.torch import load_file

    swin.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({**state, "transformer.norm.weight": torch.ones(3)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"does not have, first transformer\.norm\.weight"):
        type(swin).from_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"does not have, first transformer\.norm\.weight"):
        load_pretrained(tmp_path, log=lambda _: None)
