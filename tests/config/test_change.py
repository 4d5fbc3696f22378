import pytest

from mg3d.config import (
    PRESETS,
    LossWeights,
    PretrainConfig,
    change,
    flatten,
)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"volume_shape": (100, 96, 128)}, r"divisible by mask_block 16; .* \(96, 96, 128\)"),
        ({"batch_size": 16, "accumulation": 3}, "divisible by accumulation"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, says):
    with pytest.raises(ValueError, match=says):
        change(PretrainConfig(), **settings)


def test_a_setting_is_changed_by_its_own_name():
    preset = PRESETS["tiny"]
    changed = change(preset, batch_size=4, seed=7, weights=preset.weights.only("clip"))
    assert (changed.optimisation.batch_size, changed.run.seed) == (4, 7)
    assert changed.weights.active() == {"clip": 1.0}
    asked = {"batch_size": 4, "seed": 7}
    asked |= {f"weights.{name}": 0.0 for name in LossWeights.names() if name != "clip"}
    assert flatten(changed) == flatten(preset) | asked
    assert preset.optimisation.batch_size == 16


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("batchsize", "did you mean batch_size"),
        ("clip_gradient", "no setting 'clip_gradient'"),
        ("clip", r"did you mean weights\.clip\?"),
        ("padded_to", r"did you mean quirks\.padded_to\?"),
        ("xyz", "settings are volume_shape, spacing_mm"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_names(name, says):
    with pytest.raises(ValueError, match=says):
        change(PretrainConfig(), **{name: 1})


def test_no_two_groups_share_the_name_of_a_setting():
    names = [name for name in flatten(PretrainConfig()) if "." not in name]
    groups = [vars(group) for group in vars(PretrainConfig()).values()]
    assert len(names) + 7 + 4 == sum(map(len, groups))  # weights and quirks are named in full
