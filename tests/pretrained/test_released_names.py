"""Released parameter names: every one has a place or a reason, and the way back is the same."""

import json
from pathlib import Path

import pytest

from mg3d.config import PRESETS, change
from mg3d.pretrained.released_names import (
    official_name,
    our_name,
    sort_official,
    text_encoder_name,
    why_unused,
)
from mg3d.training.step import build_pretraining

CASES = Path(__file__).parents[1] / "parity" / "cases"
RELEASED = json.loads((CASES / "h_end_to_end.json").read_text())
WITHOUT_GRADIENT = set(RELEASED["params_without_gradient"])


@pytest.fixture(scope="module")
def ours():
    """Names and shapes of everything that learns in the paper's model."""
    # The embedded text encoder stands in for RadBERT, so what depends on its width differs.
    config = change(PRESETS["paper"], text_encoder="embedded")
    parameters = build_pretraining(config).named_parameters()
    return {name: list(value.shape) for name, value in parameters}


def test_every_released_parameter_has_one_place_or_one_reason():
    found = sort_official(RELEASED["params"])
    assert found.unknown == ()
    assert not found.skip_blocks
    for name in RELEASED["params"]:
        places = [our_name(name), text_encoder_name(name), why_unused(name)]
        assert sum(place is not None for place in places) == 1, (name, places)


def test_the_released_names_of_what_learns_are_all_of_ours_and_no_more(ours):
    found = sort_official(RELEASED["params"]).pretraining
    assert set(found) == set(ours)
    depends_on_text = {
        *("model.text_projection.weight", "objectives.mlm.decoder.weight"),
        *("objectives.mlm.decoder.bias", "objectives.sfr.target.0.weight"),
        *("objectives.sfr.target.0.bias", "objectives.sfr.target.2.weight"),
    }
    for name, shape in found.items():
        if name not in depends_on_text:
            assert shape == ours[name], name


def test_what_has_a_place_got_a_gradient_and_what_is_unused_got_none():
    for name in RELEASED["params"]:
        assert (our_name(name) is None) == (name in WITHOUT_GRADIENT), name


def test_official_names_survive_the_way_here_and_back(ours):
    for name in RELEASED["params"]:
        if new := our_name(name):
            assert official_name(new) == name
    for name in ours:
        assert our_name(official_name(name)) == name


def test_a_number_in_a_name_is_any_number():
    official = "local_text_cross_multihead_attention.17.query1.weight"
    assert our_name(official) == "model.word_fusion.layers.17.text.gates.query.weight"
    assert official_name("model.informed.layers.3.value.bias") == (
        "agg_img_cross_attention.3.value1.bias"
    )


@pytest.mark.parametrize(
    "name", ["vision_encoders.x", "mlm_head.biased", "mlm_head.decoder.bias", "itc_agg_head.ln"]
)
def test_a_name_that_only_looks_familiar_is_unknown(name):
    found = sort_official({name: 0})
    assert found.unknown == (name,)
    assert not found.pretraining and not found.unused


def test_skip_blocks_of_the_large_model_keep_the_names_monai_gives_them():
    name = "vision_encoder.encoder10.layer.conv1.conv.weight"
    found = sort_official({name: "tensor"})
    assert found.skip_blocks == {"encoder10.layer.conv1.conv.weight": "tensor"}
    assert not found.pretraining


def test_objectives_that_are_ours_alone_have_no_released_name():
    assert official_name("objectives.clip.volume_head.norm.weight") is None
    assert official_name("objectives.mim.mean") is None
