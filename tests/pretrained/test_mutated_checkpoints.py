"""Several hundred ways to wrap, cast and extend a checkpoint: the same maps, or a refusal."""

import random

import pytest
import torch

from mg3d.encoders import build_encoder
from mg3d.pretrained.load import load_pretrained
from mg3d.weights.doctor import CheckpointError

INSERTED = (
    *("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"),
    "_forward_module",
)
HOLDERS = ("model", "net", "network", "segmenter", "lightning.model")
ENTRIES = ("state_dict", "model", "net", "model_state_dict", "ema_state_dict")
HARMLESS = ("decoder1.conv.weight", "out.conv.conv.weight", "loss.weight", "head.bias")
INSIDE = ("norm.weight", "layers1.0.blocks.0.attn.lora_B.weight", "layers2.0.blocks.1.gamma")
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
SMALL = {"embed_dim": 12, "num_heads": (1, 2, 4, 8), "window": 2}


@pytest.fixture(scope="module")
def expected():
    """Maps of the plain weights, by number format of the file and by merging."""
    volume = torch.rand(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        state = build_encoder("swin3d", **SMALL).state_dict()
    maps = {}
    for dtype in DTYPES:
        for merging in ("released", "monai"):
            encoder = build_encoder("swin3d", **SMALL, merging=merging).eval()
            cast = {k: t.to(dtype).float() for k, t in state.items() if t.is_floating_point()}
            encoder.load_state_dict(state | cast)
            with torch.no_grad():
                maps[dtype, merging] = encoder(volume)
    plain = {key.removeprefix("transformer."): tensor for key, tensor in state.items()}
    return plain, volume, maps


def wrapped(key, inside, draw):
    """The key with parts inserted at the positions of `inside`, each after a part of its own."""
    parts = key.split(".")
    for position in sorted(inside, reverse=True):
        if position <= len(parts) - 1:
            parts[position:position] = [inside[position]]
    return ".".join(parts)


def mutant(plain, draw):
    """Content of a file, what merging its plain keys tell, and a tensor that must be refused."""
    network = draw.choice(("swinViT.", "vision_encoder.", "backbone.swinViT.", ""))
    merging = "monai" if network == "swinViT." else "released"
    front = []
    for _ in range(draw.randrange(4)):
        front.append(draw.choice(INSERTED + (HOLDERS if network else ())))
    inside = {
        position: draw.choice(INSERTED) for position in draw.sample(range(5), draw.randrange(3))
    }
    dtype = draw.choice(DTYPES)
    tables_too = draw.random() < 0.5
    start = "".join(f"{part}." for part in front)
    content = {}
    for key, tensor in plain.items():
        cast = tensor.to(dtype) if tensor.is_floating_point() or tables_too else tensor
        content[start + wrapped(network + key, inside, draw)] = cast
    for key in draw.sample(HARMLESS, draw.randrange(3)):
        content[f"{start}{key}"] = torch.ones(2)
    stray = ""
    if draw.random() < 0.3:
        stray = start + wrapped(network + draw.choice(INSIDE), inside, draw)
        content[stray] = torch.ones(2)
    items = list(content.items())
    draw.shuffle(items)
    content = dict(items)
    for _ in range(draw.randrange(3)):
        content = {draw.choice(ENTRIES): content, "epoch": 3}
    return content, dtype, merging, stray


@pytest.mark.parametrize(
    "group", [pytest.param(n, marks=pytest.mark.thorough if n > 2 else ()) for n in range(8)]
)
def test_15_16_30_a_wrapped_cast_or_extended_file_gives_the_same_maps_or_is_refused_by_name(
    expected, tmp_path, group
):
    plain, volume, maps = expected
    draw = random.Random(group)
    accepted = refused = 0
    for _ in range(60):
        content, dtype, merging, stray = mutant(plain, draw)
        torch.save(content, tmp_path / "a.pt")
        if stray:
            with pytest.raises(CheckpointError, match="layers it does not have") as refusal:
                load_pretrained(tmp_path / "a.pt", log=lambda _: None)
            assert stray in str(refusal.value)
            refused += 1
            continue
        loaded = load_pretrained(tmp_path / "a.pt", log=lambda _: None)
        with torch.no_grad():
            found = loaded.encoder(volume)
        accepted += 1
        for one, other in zip(found, maps[dtype, merging], strict=True):
            assert torch.equal(one, other), (list(content)[:3], dtype, merging)
    assert accepted > 20 and refused > 5
