"""Case d: the vision encoder at every stage equals the released one."""

import math

import pytest
import torch
from cases_of import Case, cases

from mg3d.encoders.swin.swin3d import Swin3DEncoder


def by_size():
    """The large volumes take over ten seconds on a busy core."""
    for name in cases("d"):
        voxels = math.prod(Case(name).description["inputs"]["volume"]["shape"])
        yield pytest.param(name, marks=pytest.mark.slow if voxels > 10**6 else ())


def sizes(case):
    """The encoder's settings, read off the shapes of its official parameters."""
    shapes = case.description["params"]
    embed_dim, channels, patch = shapes["patch_embed.proj.weight"][:3]
    blocks = {tuple(name.split(".")[:4]) for name in shapes if ".blocks." in name}
    tables = [
        shapes[f"layers{stage}.0.blocks.0.attn.relative_position_bias_table"]
        for stage in range(1, 5)
    ]  # ((2 window - 1)^3, heads)
    return {
        "embed_dim": embed_dim,
        "depths": [sum(block[0] == f"layers{stage}" for block in blocks) for stage in range(1, 5)],
        "num_heads": [heads for _, heads in tables],
        "window": (round(tables[0][0] ** (1 / 3)) + 1) // 2,
        "patch": patch,
        "input_channels": channels,
    }


def with_official_weights(case, **settings):
    encoder = Swin3DEncoder(**sizes(case), **settings)
    official = case.parameters()
    state = encoder.transformer.state_dict()
    learned = {key for key, _ in encoder.transformer.named_parameters()}
    assert learned == set(official)  # the names are the official ones, so nothing is renamed
    encoder.transformer.load_state_dict(state | official)
    return encoder


@pytest.mark.parametrize("name", list(by_size()))
def test_every_stage_of_the_swin_encoder_equals_the_released_one(name):
    case = Case(name)
    encoder = with_official_weights(case)
    with torch.no_grad():
        maps = encoder(case.input("volume"))
    assert len(maps) == len(case.description["outputs"])
    for stage, features in enumerate(maps):
        case.check(f"stage{stage}", features)


@pytest.mark.parametrize("name", cases("d")[-1:])
def test_the_repaired_merging_is_told_from_the_released_one(name):
    case = Case(name)
    encoder = with_official_weights(case, merging="monai")
    with torch.no_grad():
        maps = encoder(case.input("volume"))
    case.check("stage0", maps[0])
    with pytest.raises(AssertionError, match="stage1"):
        case.check("stage1", maps[1])
