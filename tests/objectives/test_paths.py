"""The arrows of the drawing of MG-3D are those of a real forward pass."""

from dataclasses import replace

import pytest
import torch

from mg3d.config import change
from mg3d.data.batch import collate
from mg3d.model import MG3D
from mg3d.objectives import OBJECTIVES
from mg3d.objectives.paths import MEETINGS, paths
from mg3d.training.patients import load_patients
from mg3d.training.step import build_pretraining, hide

SIX = {name: kind for name, kind in OBJECTIVES.items() if name != "clip"}


@pytest.fixture
def case(config, prepared, text_encoder):
    """A model with objectives, and a batch with hidden blocks and words."""
    config = change(config, seed=0)
    train, _ = load_patients(config, prepared, text_encoder.tokenizer)
    batch = collate(text_encoder.pad_token)([train[row] for row in range(3)])
    pretraining = build_pretraining(config, text_encoder)
    return pretraining, hide(batch, config, text_encoder, torch.Generator().manual_seed(0))


def boxes(arrows):
    return {box for arrow in arrows for box in arrow}


@torch.no_grad()
@pytest.mark.parametrize("name", SIX)
def test_parts_on_the_way_are_those_that_run(name, case):
    pretraining, batch = case
    model, ran = pretraining.model, set()
    for part in ("encoder", *MEETINGS):
        getattr(model, part).register_forward_hook(lambda *_, part=part: ran.add(part))
    model(batch, needed=SIX[name].reads)
    assert ran == boxes(paths(SIX)[name]) & {"encoder", *MEETINGS}


@torch.no_grad()
@pytest.mark.parametrize("name", SIX)
def test_inputs_on_the_way_are_those_that_change_the_features(name, case):
    pretraining, batch = case
    swapped = torch.arange(len(batch)).roll(1)
    changes = {
        "masked_volume": {"voxel_mask": torch.zeros_like(batch.voxel_mask)},
        "masked_report": {"hidden_tokens": batch.hidden_tokens.roll(1, dims=1)},
        "volume": {"volume": batch.volume[swapped]},
    }

    def read(given):
        features = pretraining.model(given, needed=SIX[name].reads)
        return [getattr(features, feature) for feature in sorted(SIX[name].reads)]

    before = read(batch)
    for box, fields in changes.items():
        after = read(replace(batch, **fields))
        moved = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        way = boxes(paths(SIX)[name])
        assert moved == (box in way or (box == "volume" and "masked_volume" in way)), box


def test_a_built_objective_brings_what_its_settings_make_it_read(case):
    pretraining, _ = case
    built = paths(dict(pretraining.objectives.items()))
    assert built.keys() == OBJECTIVES.keys()
    assert {name: built[name] for name in SIX} == paths(SIX)
    assert ("volume_vector", "clip") in built["clip"]


def test_a_class_that_does_not_know_yet_what_it_reads_is_refused():
    with pytest.raises(ValueError, match="what clip reads depends on its settings"):
        paths(OBJECTIVES)


def test_no_part_of_the_model_has_been_renamed(case):
    assert all(hasattr(case[0].model, part) for part in MEETINGS)
    assert hasattr(MG3D, "volume_tokens") and hasattr(MG3D, "text_encoder")
