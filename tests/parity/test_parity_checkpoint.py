"""Case d through the front door: a released checkpoint on disk gives the released features."""

import math

import pytest
import torch
from cases_of import Case, cases

from mg3d.pretrained.load import load_pretrained


def voxels(name):
    return math.prod(Case(name).description["inputs"]["volume"]["shape"])


# The case with the fewest voxels: what is tested here is the way in, not the encoder.
@pytest.mark.parametrize("name", sorted(cases("d"), key=voxels)[:1])
def test_a_released_checkpoint_gives_the_golden_features(name, tmp_path):
    case = Case(name)
    official = {f"vision_encoder.{name}": tensor for name, tensor in case.parameters().items()}
    torch.save(official, tmp_path / "official.ckpt")
    loaded = load_pretrained(tmp_path / "official.ckpt", log=lambda _: None)
    assert loaded.report.share == 1.0
    with torch.no_grad():
        maps = loaded.encoder(case.input("volume"))
    for stage, features in enumerate(maps):
        case.check(f"stage{stage}", features)
