"""Row 21: data prepared with another grid or HU window than the run's are refused by name."""

import json
from pathlib import Path

import pytest

from mg3d.config import PRESETS, change
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.form import PreparedForm
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.training.patients import load_patients

TINY = PreparedForm.of_grid((32, 32, 32), (7.5, 7.5, 7.5), (1.0, 1.0, 1.0), (-1000.0, 1000.0))
GRID = {"shape": [32, 32, 32], "spacing_mm": [7.5, 7.5, 7.5], "crop": [1.0, 1.0, 1.0]}
STRETCHED = GRID | {"spacing_mm": None}
HU = {"rule": "HU, proved"}


def facts(grid=GRID, window=(-1000, 1000), intensity=HU, unit=("HU",)):
    settings = {"grid": grid, "hu_window": list(window), "intensity": intensity}
    return {"settings": settings, "unit": list(unit)}


@pytest.mark.parametrize(
    ("stated", "reason"),
    [
        (facts(window=(-1350, 150)), r"HU window \(-1350, 150\) instead of \(-1000, 1000\)"),
        (facts(GRID | {"spacing_mm": [2, 2, 2]}), r"spacing \(mm\) \(2, 2, 2\) instead of \(7\.5"),
        (facts(GRID | {"spacing_mm": [None, 7.5, 7.5]}), r"\(own, 7\.5, 7\.5\) instead"),
        (facts(STRETCHED), r"spacing \(mm\) stretched instead of \(7\.5, 7\.5, 7\.5\)"),
        (
            facts(GRID | {"spacing_mm": [2, 2, 2]}, (-1350, 150)),
            r"spacing .*; HU window .*Prepare the data with the same preset",
        ),
    ],
)
def test_row_21_every_reader_refuses_data_of_another_form(
    stated, reason, write_patients, text_encoder, tmp_path
):
    folder = write_patients(tmp_path / "data", ["train"] * 2)
    VolumeDataset(folder, "train", expected=TINY)  # nothing is stated: only the shape is compared
    (folder / "dataset.json").write_text(json.dumps(facts()))
    VolumeDataset(folder, "train", expected=TINY)
    (folder / "dataset.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=reason):
        VolumeDataset(folder, "train", expected=TINY)
    with pytest.raises(ValueError, match=reason):
        VolumeReportDataset(
            folder,
            "train",
            text_encoder.tokenizer,
            max_tokens=64,
            volume_shape=(32, 32, 32),
            expected=TINY,
        )


def test_row_21_tiny_is_not_trained_on_data_of_another_window_and_spacing(
    write_patients, text_encoder, tmp_path
):
    folder = write_patients(tmp_path / "data", ["train", "val"])
    config = change(PRESETS["tiny"], volume_shape=(32, 32, 32))
    (folder / "dataset.json").write_text(json.dumps(facts()))
    train, val = load_patients(config, folder, text_encoder.tokenizer)
    assert (len(train), len(val)) == (1, 1)
    stated = facts(GRID | {"spacing_mm": [2.0, 2.0, 2.0]}, (-1350.0, 150.0))
    (folder / "dataset.json").write_text(json.dumps(stated))
    with pytest.raises(ValueError, match=r"\(2, 2, 2\) instead of \(7\.5, 7\.5, 7\.5\); HU window"):
        load_patients(config, folder, text_encoder.tokenizer)


def check(form, stated, shape=(32, 32, 32)):
    form.check(Path("folder"), stated, shape)


def test_row_21_a_stretched_grid_is_compared_by_its_crop(tmp_path):
    paper = PreparedForm.of_grid((32, 32, 32), None, (0.88, 0.65625, 0.875), (-1000.0, 1000.0))
    check(paper, facts(STRETCHED | {"crop": [0.88, 0.65625, 0.875]}))
    with pytest.raises(ValueError, match=r"crop \(1, 1, 1\) instead of \(0\.88, 0\.65625, 0\.875"):
        check(paper, facts(STRETCHED))
    with pytest.raises(ValueError, match=r"spacing \(mm\) \(7\.5, 7\.5, 7\.5\) instead of stretc"):
        check(paper, facts())


def test_row_21_what_has_no_hu_and_no_spacing_is_compared_by_shape_alone():
    pictures = facts(STRETCHED, (0, 1), {"rule": "8 bit"}, ["0 to 1"])
    check(TINY, pictures)
    with pytest.raises(ValueError, match=r"shape \(32, 32, 16\) instead of \(32, 32, 32\)"):
        check(TINY, pictures, (32, 32, 16))
    heart = facts(window=(0, 1), intensity={"rule": "percentiles"}, unit=["0 to 1"])
    check(TINY, heart)
    with pytest.raises(ValueError, match="spacing"):  # MR has a spacing, if no HU
        check(TINY, facts(GRID | {"spacing_mm": [1, 1, 1]}, unit=["0 to 1"]))


def test_row_21_numbers_that_went_through_json_are_the_same():
    third = PreparedForm(spacing_mm=(1 / 3, 1.0, 1.0), hu_window=(-1000, 1000))
    check(third, facts(GRID | {"spacing_mm": json.loads(json.dumps([1 / 3 + 1e-9, 1, 1]))}))
