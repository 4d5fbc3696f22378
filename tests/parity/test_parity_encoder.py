"""Case d: the vision encoder at every stage equals the released one."""

import pytest
import torch
from cases_of import Case, names

from mg3d.encoders.swin3d import Swin3DEncoder


@pytest.mark.parametrize("name", names("d_swin48"))
def test_every_stage_of_the_swin_encoder_equals_the_released_one(name):
    case = Case(name)
    encoder = Swin3DEncoder()
    official = case.parameters()
    state = encoder.transformer.state_dict()
    learned = {key for key, _ in encoder.transformer.named_parameters()}
    assert learned == set(official)  # the names are MONAI's, so nothing is renamed
    encoder.transformer.load_state_dict(state | official)
    with torch.no_grad():
        maps = encoder(case.input("volume"))
    for stage, features in enumerate(maps):
        case.check(f"stage{stage}", features)
