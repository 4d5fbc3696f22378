import pytest
import torch
from torch import nn

from mg3d.encoders.swin.swin3d import Swin3DEncoder
from mg3d.encoders.swin.window_attention import WindowAttention
from mg3d.encoders.swin.window_maps import record_window_maps, window_maps


@pytest.mark.parametrize("shifted", [False, True])
def test_the_map_times_the_values_is_what_the_attention_gives(shifted):
    torch.manual_seed(0)
    layer, norm = WindowAttention(4, 2, (2, 2, 2), shifted=shifted), nn.LayerNorm(4)
    nn.init.normal_(layer.relative_position_bias_table)
    tokens = torch.randn(2, 4, 3, 2, 4)
    maps = window_maps(layer, tokens, norm)

    value = layer.qkv(norm(tokens)).chunk(3, dim=-1)[2].reshape(-1, 4)
    value = torch.cat(
        [value, layer.qkv.bias[-4:][None]]
    )  # row -1: padding is zero before the layer
    of_heads = value[maps.places].unflatten(-1, (2, 2)).transpose(1, 2)  # (w, heads, n, 2)
    found = (maps.weights @ of_heads).transpose(1, 2).flatten(2)
    attended = torch.zeros_like(value)
    attended[maps.places.flatten()] = found.flatten(0, 1)
    torch.testing.assert_close(layer.proj(attended[:-1]).view(tokens.shape), layer(tokens, norm))


def test_maps_of_a_running_encoder_are_read_by_name_and_only_inside_the_block():
    encoder = Swin3DEncoder(embed_dim=12, num_heads=(1, 2, 4, 8), window=4)
    volume = torch.rand(2, 1, 32, 64, 32)
    with record_window_maps(encoder.transformer.layers3) as maps:
        encoder(volume)
    assert list(maps) == ["0.blocks.0.attn", "0.blocks.1.attn"]
    weights, places = maps["0.blocks.1.attn"].weights, maps["0.blocks.1.attn"].places
    assert weights.shape == (4, 4, 64, 64) and places.shape == (4, 64)  # 2 patients, 4 x 8 x 4
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 4, 64))
    assert places.flatten().sort().values.tolist() == list(range(2 * 4 * 8 * 4))
    maps.clear()
    encoder(volume)
    assert not maps
