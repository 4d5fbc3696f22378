import pytest
import torch
from torch import nn

from mg3d.encoders.swin.block import Block
from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.encoders.swin.window_maps import record_window_maps


@pytest.mark.parametrize("shifted", [False, True])
def test_the_map_times_the_values_is_what_the_attention_gives(shifted):
    torch.manual_seed(0)
    block = Block(4, 2, (2, 2, 2), shifted=shifted)
    nn.init.normal_(block.attn.relative_position_bias_table)
    tokens = torch.randn(2, 4, 3, 2, 4)
    projected = []
    block.attn.proj.register_forward_hook(lambda module, inputs, output: projected.append(output))
    with record_window_maps(block) as by_name:
        block(tokens)
    maps = by_name["attn"]

    value = block.attn.qkv(block.norm1(tokens)).chunk(3, dim=-1)[2].reshape(-1, 4)
    # row -1: padding is zero before the layer
    value = torch.cat([value, block.attn.qkv.bias[-4:][None]])
    of_heads = value[maps.rows].unflatten(-1, (2, 2)).transpose(1, 2)  # (w, heads, n, 2)
    attended = (maps.weights @ of_heads).transpose(1, 2).flatten(2)
    torch.testing.assert_close(block.attn.proj(attended), projected[0])


@pytest.mark.parametrize("window_recompute", [False, True])
def test_maps_of_a_running_encoder_are_read_by_name_and_only_inside_the_block(window_recompute):
    encoder = Swin3DEncoder(
        embed_dim=12, num_heads=(1, 2, 4, 8), window=4, window_recompute=window_recompute
    )
    volume = torch.rand(2, 1, 32, 64, 32)
    with record_window_maps(encoder.transformer.layers3) as maps:
        encoder(volume)
    assert list(maps) == ["0.blocks.0.attn", "0.blocks.1.attn"]
    weights, rows = maps["0.blocks.1.attn"].weights, maps["0.blocks.1.attn"].rows
    assert weights.shape == (4, 4, 64, 64) and rows.shape == (4, 64)  # 2 patients, 4 x 8 x 4
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 4, 64))
    assert rows.flatten().sort().values.tolist() == list(range(2 * 4 * 8 * 4))
    assert encoder.window_recompute == window_recompute  # as it was set before
    maps.clear()
    encoder(volume)
    assert not maps
