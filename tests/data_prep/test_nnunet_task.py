"""Row 09: a Decathlon task in nnU-Net v2's form."""

import json

import pytest

from data_prep import msd
from data_prep.phantom.layouts.chest import write_msd_lung
from data_prep.tables import TableError
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid

SMALL = RunOptions(settings=PrepareSettings(grid=Grid((4, 4, 4))), workers=0)


def table(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def as_nnunet(root, name, prefix="lung"):
    """A task in nnU-Net v2's form, as its converter writes it."""
    about = json.loads((root / "dataset.json").read_text())
    for path in [*(root / "imagesTr").glob(f"{prefix}*")]:
        path.rename(path.with_name(path.name.replace(".nii", "_0000.nii")))
    labels = {word: int(number) for number, word in about["labels"].items()}
    form = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
    extra = {"numTraining": about["numTraining"], **({"name": name} if name else {})}
    (root / "dataset.json").write_text(json.dumps(form | extra))


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Dataset006_Lung", "Dataset006_Lung"), ("Dataset006_Lung", None), ("here", "Lung")],
)
def test_row_09_a_task_in_nnunets_form_gives_what_the_decathlons_gives(folder, name, tmp_path):
    write_msd_lung(tmp_path, 3, 0)
    root = tmp_path / "Task06_Lung"
    msd.prepare_msd(root, tmp_path / "a", SMALL)
    as_nnunet(root.rename(tmp_path / folder), name)
    done = msd.prepare_msd(tmp_path / folder, tmp_path / "b", SMALL)
    assert (done.taken, done.refused) == (3, ())
    one, other = (read_manifest(tmp_path / name) for name in "ab")
    assert one.facts["voxels_sha256"] == other.facts["voxels_sha256"]
    assert other.masks_mean.names == ("cancer",)
    assert one.rows["fold"].tolist() == other.rows["fold"].tolist() == ["0", "1", "2"]
    assert other.rows["volume_id"].tolist() == ["lung_001", "lung_023", "lung_042"]


def test_row_09_mixed_names_and_folds_of_either_naming_fit(tmp_path):
    write_msd_lung(tmp_path, 2, 0)
    root = tmp_path / "Task06_Lung"
    path = root / "imagesTr/lung_001.nii.gz"
    path.rename(path.with_name("lung_001_0000.nii.gz"))
    entries = [
        {"fold": n, "image": f"imagesTr/lung_{case}.nii.gz", "label": ""}
        for n, case in enumerate(("001", "023_0000"))
    ]
    folds = table(tmp_path, json.dumps({"training": entries}), "folds.json")
    done = msd.prepare_msd(root, tmp_path / "out", SMALL, folds=folds)
    assert (done.taken, done.refused) == (2, ())
    assert read_manifest(tmp_path / "out").rows["split"].tolist() == ["val", "train"]


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ({"background": 0, "cancer": [1, 2]}, "regions of several numbers"),
        ({"background": 0, "cancer": 2}, "expected 0"),
        ({"cancer": 1}, "expected 0"),
        ({"background": 0, "cancer": 0}, "expected 0"),
        ({"background": 0, "cancer": "one"}, "expected 0"),
    ],
)
def test_row_09_labels_of_neither_form_are_named(labels, reason, tmp_path):
    write_msd_lung(tmp_path, 1, 0)
    root = tmp_path / "Task06_Lung"
    as_nnunet(root, "Lung")
    about = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps(about | {"labels": labels}))
    with pytest.raises(TableError, match=reason):
        msd.prepare_msd(root, tmp_path / "out", SMALL)
