"""Case d: the vision encoder at every stage equals the released one."""

import math

import pytest
import torch
from cases_of import Case, names

from mg3d.encoders.swin3d import Swin3DEncoder


def cases():
    """The large volumes take over ten seconds on a busy core."""
    for name in names("d_swin48"):
        voxels = math.prod(Case(name).description["inputs"]["volume"]["shape"])
        yield pytest.param(name, marks=pytest.mark.slow if voxels > 10**6 else ())


def with_official_weights(case, **settings):
    encoder = Swin3DEncoder(**settings)
    official = case.parameters()
    state = encoder.transformer.state_dict()
    learned = {key for key, _ in encoder.transformer.named_parameters()}
    assert learned == set(official)  # the names are the official ones, so nothing is renamed
    encoder.transformer.load_state_dict(state | official)
    return encoder


@pytest.mark.parametrize("name", list(cases()))
def test_every_stage_of_the_swin_encoder_equals_the_released_one(name):
    case = Case(name)
    encoder = with_official_weights(case)
    with torch.no_grad():
        maps = encoder(case.input("volume"))
    assert len(maps) == len(case.description["outputs"])
    for stage, features in enumerate(maps):
        case.check(f"stage{stage}", features)


def test_the_repaired_merging_is_told_from_the_released_one():
    case = Case(names("d_swin48")[-1])
    encoder = with_official_weights(case, merging="monai")
    with torch.no_grad():
        maps = encoder(case.input("volume"))
    case.check("stage0", maps[0])
    with pytest.raises(AssertionError, match="stage1"):
        case.check("stage1", maps[1])
