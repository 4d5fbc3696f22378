import torch

from mg3d.attention.fusion import Fusion
from mg3d.attention.recording import record_maps


def tokens(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_recorded_map_is_the_one_the_model_used():
    fusion = Fusion(8, num_layers=1)
    volume, text = tokens(2, 3, 8), tokens(2, 5, 8, seed=1)
    with record_maps(fusion) as maps:
        fused, _ = fusion(volume, text)
    gates = maps["layers.0.volume.gates"]
    assert gates.shape == (2, 3, 5)
    assert not gates.requires_grad
    value = fusion.layers[0].volume.value(volume)
    torch.testing.assert_close(gates.mean(-1, keepdim=True) * value, fused)


def test_every_direction_of_every_layer_is_recorded_under_its_place():
    fusion = Fusion(8, num_layers=2, attention="softmax")
    with record_maps(fusion) as maps:
        fusion(tokens(1, 3, 8), tokens(1, 5, 8))
    assert sorted(maps) == [
        f"layers.{layer}.{side}.shares" for layer in range(2) for side in ("text", "volume")
    ]


def test_a_second_call_does_not_overwrite_the_first():
    fusion = Fusion(8, num_layers=1)
    one, two, text = tokens(1, 3, 8), tokens(1, 3, 8, seed=2), tokens(1, 5, 8, seed=1)
    with record_maps(fusion) as maps:
        fusion(one, text)
        fusion(two, text)
    gates = fusion.layers[0].volume.gates
    torch.testing.assert_close(maps["layers.0.volume.gates"], gates(one, text))
    torch.testing.assert_close(maps["layers.0.volume.gates:2"], gates(two, text))


def test_nothing_is_recorded_after_the_block_even_if_it_failed():
    fusion = Fusion(8)
    try:
        with record_maps(fusion) as maps:
            raise RuntimeError
    except RuntimeError:
        pass
    fusion(tokens(1, 3, 8), tokens(1, 5, 8))
    assert maps == {}
