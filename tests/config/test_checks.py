import json
from dataclasses import asdict

import numpy as np
import pytest

from mg3d.config import (
    PRESETS,
    GridSettings,
    LossWeights,
    NetworkSettings,
    OptimisationSettings,
    PretrainConfig,
    Quirks,
    RunSettings,
    change,
    flatten,
    parse_config,
)

REFUSED = {
    "batch_size is a whole number (at least 1)": [
        {"batch_size": wrong} for wrong in (8.5, 4.0, "8", True, None, 0, -4, [8])
    ],
    "save_every is a whole number (at least 1)": [{"save_every": 0}],
    "workers is a whole number (at least 0)": [{"workers": -1}],
    "seed is a whole number (at least 0 and below 4294967296)": [{"seed": -1}, {"seed": 2**32}],
    "learning_rate is a number (at least 0)": [
        {"learning_rate": wrong} for wrong in ("abc", "1e-3", -1e-3, float("nan"), float("inf"))
    ],
    "temperature is a number (above 0)": [{"temperature": 0}],
    "voxel_mask_ratio is a number (above 0 and below 1)": [
        {"voxel_mask_ratio": wrong} for wrong in (0, 1, 1.0, -0.5)
    ],
    "mim_from_mean is True or False": [
        {"mim_from_mean": wrong} for wrong in ("false", "no", 0, 1, None)
    ],
    "volume_shape is 3 whole numbers (at least 1)": [
        {"volume_shape": wrong}
        for wrong in ((32, 32), (32, 32, 32, 32), (32, 32, 32.0), (32, 0, 32), 32, "323232")
    ],
    "spacing_mm is 3 numbers (above 0) or None": [{"spacing_mm": (1, 0, 1)}, {"spacing_mm": 1}],
    "crop is 3 numbers (above 0 and at most 1)": [{"crop": (1, 1, 1.1)}],
    "hu_window is 2 numbers": [
        {"hu_window": wrong} for wrong in ((float("nan"), 0), (0, float("inf")), (0, "1"))
    ],
    "hu_window is (lower, upper) in HU": [{"hu_window": (100, -100)}, {"hu_window": (0, 0)}],
    "encoder is one of swin3d, unet3d": [{"encoder": "swin"}, {"encoder": 3}],
    "attention is one of gated, softmax": [{"attention": "sigmoid"}],
    "optimiser is one of adam, adamw": [{"optimiser": "Adam"}],
    "precision is one of no, fp16, bf16": [{"precision": "half"}, {"precision": False}],
    "clip_text is one of vector, words": [{"clip_text": "word"}],
    "text_encoder is text": [{"text_encoder": None}],
    "encoder_settings is a mapping of names to JSON values": [
        {"encoder_settings": wrong} for wrong in ([1], {"channels": np.arange(3)}, {"a": {1}})
    ],
    "weights is a LossWeights": [{"weights": {"clip": 1.0}}, {"weights": None}],
}


@pytest.mark.parametrize(
    ("says", "settings"), [(says, one) for says, every in REFUSED.items() for one in every]
)
def test_a_wrong_type_or_range_is_refused_by_name_with_what_came(says, settings):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 (the text is compared below)
        change(PRESETS["tiny"], **settings)
    message = str(refused.value)
    assert message.startswith(f"{says}, got ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: OptimisationSettings(batch_size=8.5),
        lambda: RunSettings(save_every=0),
        lambda: parse_config({"optimisation": {"batch_size": 8.5}}, "config.json"),
        lambda: parse_config({"run": {"save_every": 0}}, "config.json"),
        lambda: parse_config({"save_every": 0}, "config.json"),
    ],
)
def test_a_group_is_checked_wherever_it_is_made(make):
    with pytest.raises(ValueError, match=r"(batch_size|save_every) is a whole number"):
        make()


def test_weights_and_quirks_are_named_in_full():
    with pytest.raises(ValueError, match=r"^weights\.clip is a number \(at least 0\), got -1"):
        LossWeights(clip=-1)
    with pytest.raises(ValueError, match=r"^quirks\.padded_to is a whole number .*, got 2\.5"):
        Quirks(padded_to=2.5)
    with pytest.raises(ValueError, match="one of the loss weights must be above 0"):
        LossWeights(**dict.fromkeys(LossWeights.names(), 0))


def test_values_are_brought_to_the_declared_type():
    made = GridSettings(volume_shape=[32, np.int64(48), 32], spacing_mm=[1, 2, np.float32(3)])
    assert made == GridSettings(volume_shape=(32, 48, 32), spacing_mm=(1.0, 2.0, 3.0))
    assert [type(v) for v in (*made.volume_shape, *made.spacing_mm)] == [int] * 3 + [float] * 3
    assert type(OptimisationSettings(learning_rate=1).learning_rate) is float


def test_settings_of_an_encoder_are_equal_from_json_and_from_python():
    python = NetworkSettings(encoder_settings={"channels": (4, 8), "deep": [{"a": [1]}]})
    written = json.loads(json.dumps(asdict(python)))
    assert NetworkSettings(**written) == python
    assert python.encoder_settings == {"channels": (4, 8), "deep": ({"a": (1,)},)}


def test_a_group_must_be_of_its_own_kind():
    with pytest.raises(ValueError, match="run is a RunSettings"):
        PretrainConfig(run=GridSettings())


@pytest.mark.parametrize("name", PRESETS)
def test_checking_changes_no_value_of_a_preset(name):
    for setting, value in flatten(PRESETS[name]).items():
        assert parse_config(asdict(PRESETS[name]), "x") == PRESETS[name], setting
        assert not isinstance(value, list)
