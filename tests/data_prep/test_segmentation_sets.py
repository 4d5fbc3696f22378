"""MSD and COVID-19-20: what the phantom planted comes back through the importers."""

import json
import shutil

import numpy as np
import pytest

from data_prep import covid19_20, msd
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.chest import (
    COLON,
    COVID,
    LUNG,
    write_covid19_20,
    write_msd_colon,
    write_msd_lung,
)
from mg3d.data.manifest import read_manifest, read_voxels
from mg3d.data.masks import read_masks
from mg3d.data.prepared import original_grid, read_facts
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid, hu_to_unit, quantise
from mg3d.volumes.volume import read_volume, to_original, write_nifti

AS_IT_IS = PrepareSettings(grid=Grid(None))
PATIENTS = 5


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    write_msd_lung(folder, PATIENTS, seed=0)
    write_msd_colon(folder, 1, seed=0)
    write_covid19_20(folder / "covid", PATIENTS, seed=0)
    return folder


@pytest.fixture
def lung(raw, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(raw / "Task06_Lung", tmp_path / "Task06_Lung")


@pytest.fixture
def covid(raw, tmp_path):
    return shutil.copytree(raw / "covid", tmp_path / "covid")


def planted(findings, number):
    """The scan and the lesion of the number-th patient of seed 0 that has a finding."""
    having = 0
    for patient in range(1000):
        plan = draw_patient(0, patient)
        if any(finding.name in findings for finding in plan.findings):
            if having == number:
                return plan
            having += 1
    raise AssertionError


@pytest.mark.parametrize(
    ("name", "findings", "cases"),
    [("Task06_Lung", LUNG, PATIENTS), ("Task10_Colon", COLON, 1), ("covid", COVID, PATIENTS)],
)
def test_masks_and_voxels_come_back_exactly_where_nothing_is_resampled(
    name, findings, cases, raw, tmp_path
):
    prepare_it = prepare_covid19_20 if name == "covid" else prepare_msd
    done = prepare_it(raw / name, tmp_path, RunOptions(settings=AS_IT_IS, workers=0))
    assert (done.taken, done.exit_status) == (cases, 0)
    manifest = read_manifest(tmp_path)
    assert manifest.labels == ()
    assert manifest.masks_mean.kind == "classes"
    assert (manifest.rows["findings"] == "").all()
    for number, row in enumerate(manifest.rows.itertuples()):
        masks = read_masks(tmp_path / row.masks).numpy()
        scan = draw_scan(planted(findings, number), masks.shape, (5.0, 4.0, 4.0))
        lesion = np.any([scan.mask(finding) for finding in findings], axis=0)
        np.testing.assert_array_equal(masks, lesion.astype(int))
        assert lesion.any()
        expected = quantise(hu_to_unit(scan.hu.astype(np.float32), (-1000, 1000)))
        voxels = np.rint(read_voxels(tmp_path / row.volume).numpy() * 255)
        np.testing.assert_array_equal(voxels, expected)
        facts = read_facts(tmp_path / row.volume)
        assert facts["rescale"]["to"] == "HU"


def test_a_resampled_mask_keeps_place_and_size(raw, tmp_path):
    settings = PrepareSettings(grid=Grid(None, (3.0, 3.0, 3.0)))
    prepare_covid19_20(raw / "covid", tmp_path, RunOptions(settings=settings, workers=0))
    rows = read_manifest(tmp_path).rows
    for row in rows.itertuples():
        masks = read_masks(tmp_path / row.masks).numpy()
        facts = read_facts(tmp_path / row.masks)
        assert masks.shape == (110, 83, 120)
        original = read_volume(raw / "covid" / facts["source_file"].replace("_ct", "_seg"))
        truth = original.voxels
        assert masks.sum() * 27 == pytest.approx(truth.sum() * 80, rel=0.05)
        affine, stored = original_grid(facts)
        back = to_original(masks.astype(np.float32), affine, stored) >= 0.5
        there = read_stored(raw / "covid" / facts["source_file"].replace("_ct", "_seg"))
        dice = 2 * (back & there).sum() / (back.sum() + there.sum())
        assert dice > 0.85


def read_stored(path):
    import nibabel as nib

    return np.asarray(nib.load(path).dataobj) > 0


def test_the_released_folds_hold_out_by_case_number(raw, tmp_path):
    prepare_msd(raw / "Task06_Lung", tmp_path, RunOptions(settings=AS_IT_IS, workers=0), fold="2")
    manifest = read_manifest(tmp_path)
    rows = manifest.rows.set_index("volume_id")
    assert rows["fold"].to_dict() == {
        "lung_001": "0", "lung_023": "1", "lung_042": "2", "lung_058": "3", "lung_075": "4",
    }  # fmt: skip
    assert rows.index[rows["split"] == "val"].tolist() == ["lung_042"]
    assert manifest.facts["folds"] == {"name": "released", "held_out": "2"}
    assert manifest.facts["masks"] == {"kind": "classes", "names": ["cancer"]}


def test_folds_may_come_from_a_list(covid, tmp_path):
    entries = [
        {"fold": n % 2, "image": p.name, "label": ""}
        for n, p in enumerate(sorted((covid / "Train").glob("*_ct.nii.gz"))[:4])
    ]
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"training": entries}))
    done = prepare_covid19_20(
        covid, tmp_path / "out", RunOptions(settings=AS_IT_IS, workers=0), folds=path, fold="1"
    )
    rows = read_manifest(tmp_path / "out").rows
    assert rows["split"].tolist() == ["train", "val", "train", "val"]
    assert rows["volume_id"][1] == "covid19-A-0167_1"
    assert rows["patient_id"][1] == "covid19-A-0167"
    (refused,) = done.refused
    assert "not in the fold list" in refused.reason
    with pytest.raises(ValueError, match="fold '3' is to be held out"):
        prepare_covid19_20(covid, tmp_path / "out", RunOptions(workers=0), folds=path, fold="3")


def test_what_does_not_fit_together_in_a_task_is_named(lung, tmp_path):
    (lung / "imagesTr/lung_023.nii.gz").unlink()
    (lung / "labelsTr/lung_042.nii.gz").unlink()
    shutil.copy(lung / "imagesTr/lung_058.nii.gz", lung / "imagesTr/lung_059.nii.gz")
    (lung / "imagesTs").mkdir()
    shutil.copy(lung / "imagesTr/lung_058.nii.gz", lung / "imagesTs/lung_002.nii.gz")
    masks = read_stored(lung / "labelsTr/lung_075.nii.gz").astype(np.uint8)
    import nibabel as nib

    affine = nib.load(lung / "labelsTr/lung_075.nii.gz").affine
    write_nifti(lung / "labelsTr/lung_075.nii.gz", 7 * masks, affine)
    done = prepare_msd(lung, tmp_path / "out", RunOptions(settings=AS_IT_IS, workers=0))
    assert (done.taken, done.exit_status) == (2, 3)
    reasons = {refusal.file: refusal.reason for refusal in done.refused}
    assert "imagesTr/lung_023.nii.gz" not in reasons
    absent = read_manifest(tmp_path / "out").facts["cases_without_volume"]
    assert absent == {"count": 1, "first": ["lung_023"]}
    assert "labelsTr/lung_042.nii.gz is missing" in reasons["imagesTr/lung_042.nii.gz"]
    assert "not in the training list" in reasons["imagesTr/lung_059.nii.gz"]
    assert "label 7 outside the declared classes 0, 1" in reasons["imagesTr/lung_075.nii.gz"]
    assert [r.file for r in done.left_out] == ["imagesTs/lung_002.nii.gz"]
    assert not any("._" in file for file in reasons)


def test_what_does_not_fit_together_in_the_challenge_is_named(covid, tmp_path):
    train = covid / "Train"
    (train / "volume-covid19-A-0319_seg.nii.gz").unlink()
    shutil.copy(train / "volume-covid19-A-0003_ct.nii.gz", train / "extra.nii.gz")
    done = prepare_covid19_20(covid, tmp_path / "out", RunOptions(settings=AS_IT_IS, workers=0))
    assert (done.taken, done.exit_status) == (4, 3)
    assert [(r.file.split("/")[-1], r.reason[:25]) for r in done.refused] == [
        ("extra.nii.gz", "expected a name like volu"),
        ("volume-covid19-A-0319_ct.nii.gz", "its mask volume-covid19-A"),
    ]
    assert [r.file.split("/")[0] for r in done.left_out] == ["Validation"]


def test_wrong_folders_are_refused_with_the_way_out(raw, lung, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="there are Task06_Lung, Task10_Colon inside"):
        prepare_msd(raw, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        prepare_covid19_20(tmp_path / "absent", tmp_path / "out")
    about = json.loads((lung / "dataset.json").read_text())
    for changed, reason in (
        ({"name": "Liver"}, "expected Lung or Colon"),
        ({"labels": {"0": "background", "2": "x"}}, "expected 0 .background., 1"),
        ({"training": [{"image": "a"}]}, "entry 0 of training"),
        ({"training": None}, "expected labels and a list called training"),
    ):
        (lung / "dataset.json").write_text(json.dumps(about | changed))
        with pytest.raises(ValueError, match=reason):
            prepare_msd(lung, tmp_path / "out")
        assert msd.main(["--source", str(lung), "--output", str(tmp_path / "out")]) == 2
    assert "error: " in capsys.readouterr().err


def test_commands_take_grid_window_and_shards(covid, tmp_path, capsys):
    call = ["--source", str(covid), "--output", str(tmp_path / "out"), "--workers", "0"]
    form = ["--spacing", "0", "8", "8", "--hu-window", "-1000", "500", "--dtype", "float16"]
    assert covid19_20.main([*call, *form, "--fold", "1", "--shard", "1/1"]) == 0
    assert "data_prep.merge" in capsys.readouterr().out
    from data_prep.merge import main as merge

    assert merge(["--output", str(tmp_path / "out")]) == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.facts["settings"]["hu_window"] == [-1000, 500]
    voxels = read_voxels(tmp_path / "out" / manifest.rows["volume"][0])
    assert voxels.shape == (66, 31, 45)
