"""Case d through the front door: a released checkpoint on disk gives the released features."""

import math

import torch
from cases_of import Case, names

from mg3d.pretrained.load import load_pretrained


def smallest(start):
    """The case with the fewest voxels: what is tested here is the way in, not the encoder."""
    cases = [Case(name) for name in names(start)]
    return min(cases, key=lambda case: math.prod(case.description["inputs"]["volume"]["shape"]))


def test_a_released_checkpoint_gives_the_golden_features(tmp_path):
    case = smallest("d_swin48")
    official = {f"vision_encoder.{name}": tensor for name, tensor in case.parameters().items()}
    torch.save(official, tmp_path / "official.ckpt")
    loaded = load_pretrained(tmp_path / "official.ckpt", log=lambda _: None)
    assert loaded.report.share == 1.0
    with torch.no_grad():
        maps = loaded.encoder(case.input("volume"))
    for stage, features in enumerate(maps):
        case.check(f"stage{stage}", features)
