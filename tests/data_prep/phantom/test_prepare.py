import csv
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from data_prep.ct_rate import prepare_ct_rate
from data_prep.phantom.__main__ import main
from data_prep.phantom.prepare import (
    METADATA_HEADER,
    PhantomSpec,
    prepare_phantom,
    write_phantom,
)
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import read_manifest, read_voxels
from mg3d.data.masks import read_masks
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.orientation import axes_of
from mg3d.volumes.volume import read_volume

COARSE = PrepareSettings(grid=Grid((20, 14, 20), (18.0, 18.0, 18.0)))
SMALL = {"patients": 3, "val_patients": 2, "settings": COARSE, "workers": 0}


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom")
    prepare_phantom(folder, **SMALL, keep_raw=True)
    return folder


def test_patients_are_numbered_on_from_training_to_held_out(small):
    rows = read_manifest(small).rows
    names = ["train_1_a_1", "train_2_a_1", "train_3_a_1", "valid_1_a_1", "valid_2_a_1"]
    assert rows["volume_id"].tolist() == names
    assert rows["split"].tolist() == ["train"] * 3 + ["val"] * 2
    for patient in range(5):
        plan = draw_patient(0, patient)
        assert rows.loc[patient, list(CT_RATE_FINDINGS)].tolist() == plan.labels().tolist()
        report = write_report(plan)
        assert rows["findings"][patient] == report.findings
        assert rows["impression"][patient] == report.impression


def test_what_the_importer_gives_back_agrees_with_the_masks_planted(small):
    rows = read_manifest(small).rows
    for volume, file, labels in zip(
        rows["volume"], rows["masks"], rows[list(CT_RATE_FINDINGS)].to_numpy(), strict=True
    ):
        assert read_voxels(small / volume).shape == (20, 14, 20)
        masks = read_masks(small / file).numpy()
        found = [bool((masks >> bit & 1).any()) for bit in range(18)]
        raw = small / "raw" / "masks" / f"{Path(file).stem}.nii.gz"
        planted = read_volume(raw).voxels
        assert found == [bool((planted >> bit & 1).any()) for bit in range(18)]
        assert not (np.array(found) & (labels == 0)).any()


def test_raw_files_are_in_the_official_layout_and_formats(small):
    raw = small / "raw"
    assert (raw / "train_fixed/train_1/train_1_a/train_1_a_1.nii.gz").is_file()
    assert (raw / "valid_fixed/valid_2/valid_2_a/valid_2_a_1.nii.gz").is_file()
    assert (raw / "masks/valid_2_a_1.nii.gz").is_file()
    for table, columns in (
        ("radiology_text_reports/validation_reports", 5),
        ("multi_abnormality_labels/valid_predicted_labels", 19),
        ("metadata/train_metadata", 44),
    ):
        with (raw / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            assert {len(row) for row in csv.reader(file)} == {columns}
    assert METADATA_HEADER[37:40] == ("XYSpacing", "RescaleIntercept", "RescaleSlope")


def test_metadata_agree_with_the_files(small):
    with (small / "raw/metadata/train_metadata.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["VolumeName"]
            scan = name.rsplit("_", 1)[0]
            patient = scan.rsplit("_", 1)[0]
            volume = read_volume(small / "raw/train_fixed" / patient / scan / name)
            h, w, d = volume.spacing_mm
            assert float(row["ZSpacing"]) == pytest.approx(h, abs=1e-4)
            assert row["XYSpacing"].startswith("[")
            assert h != pytest.approx(w)  # anisotropic
            assert w == pytest.approx(d)
            shape = tuple(int(row[n]) for n in ("NumberofSlices", "Rows", "Columns"))
            assert volume.voxels.shape == shape
            assert volume.voxels.dtype == np.int16
            assert volume.warnings == () or "slices" in volume.warnings[0]


def test_orientations_differ_and_volume_and_masks_share_them(small):
    axes = set()
    for path in (small / "raw").glob("*_fixed/*/*/*.nii.gz"):
        image, masks = nib.load(path), nib.load(small / "raw" / "masks" / path.name)
        np.testing.assert_array_equal(image.affine, masks.affine)
        assert image.shape == masks.shape
        axes.add(axes_of(image.affine))
    assert len(axes) > 1


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.thorough)])
def test_equal_arguments_give_equal_bytes_with_any_number_of_workers(workers, small, tmp_path):
    prepare_phantom(tmp_path, **(SMALL | {"workers": workers}), keep_raw=True)
    assert files_of(tmp_path) == files_of(small)


def test_another_seed_gives_other_patients(small, tmp_path):
    prepare_phantom(tmp_path, **SMALL, seed=1)
    facts = [read_manifest(folder).facts["voxels_sha256"] for folder in (small, tmp_path)]
    assert facts[0] != facts[1]


def test_raw_files_go_when_they_are_not_asked_for_and_nothing_else_changes(small, tmp_path):
    prepare_phantom(tmp_path, **SMALL)
    assert not (tmp_path / "raw").exists()
    kept = {k: v for k, v in files_of(small).items() if not k.startswith("raw/")}
    assert files_of(tmp_path) == kept


def test_a_finished_phantom_is_not_made_again(small, tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.phantom.prepare.write_phantom", None)
    done = prepare_phantom(small, **SMALL)
    assert (done.taken, done.kept, done.exit_status) == (5, 5, 0)


def test_one_that_lost_a_file_or_is_another_is_made_again(tmp_path):
    prepare_phantom(tmp_path, **SMALL)
    before = files_of(tmp_path)
    (tmp_path / "masks/val/valid_1_a_1.safetensors").unlink()
    assert prepare_phantom(tmp_path, **SMALL).kept < 5
    assert files_of(tmp_path) == before
    prepare_phantom(tmp_path, **(SMALL | {"patients": 2}))
    assert len(read_manifest(tmp_path).rows) == 4


def test_an_interrupted_phantom_is_finished(small, tmp_path):
    shutil.copytree(small / "raw", tmp_path / "raw")
    (tmp_path / "raw/train_fixed/train_2/train_2_a/train_2_a_1.nii.gz").unlink()
    (tmp_path / "raw/metadata/train_metadata.csv").unlink()
    prepare_phantom(tmp_path, **SMALL, keep_raw=True)
    assert files_of(tmp_path) == files_of(small)


def test_a_scan_has_up_to_three_reconstructions_with_one_report(tmp_path):
    spec = PhantomSpec(patients=6, val_patients=0, reconstructions=3, grid=COARSE.grid)
    write_phantom(tmp_path / "raw", spec, workers=0)
    prepare_ct_rate(tmp_path / "raw", tmp_path, RunOptions(settings=COARSE, workers=0))
    rows = read_manifest(tmp_path).rows
    per_scan = rows.groupby("scan_id")
    assert set(per_scan.size()) <= {1, 2, 3}
    assert per_scan.size().max() > 1
    assert (per_scan["findings"].nunique() == 1).all()


def test_a_clinical_raw_grid_can_be_asked_for(tmp_path):
    spec = PhantomSpec(patients=1, val_patients=0, coarseness=8, grid=COARSE.grid)
    write_phantom(tmp_path / "raw", spec, workers=0)
    (path,) = (tmp_path / "raw").glob("train_fixed/*/*/*.nii.gz")
    assert read_volume(path).voxels.shape[2] == 64  # 512 / 8


def test_another_phantom_takes_the_place_of_the_first_and_nothing_elses(tmp_path):
    for patients in (2, 1):
        spec = PhantomSpec(patients=patients, val_patients=0, grid=COARSE.grid)
        write_phantom(tmp_path, spec, workers=0)
        (tmp_path / "notes.txt").write_text("mine")
    assert [path.name for path in tmp_path.glob("train_fixed/*/*/*")] == ["train_1_a_1.nii.gz"]
    assert (tmp_path / "notes.txt").is_file()


def test_somebody_elses_folder_is_left_alone(tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="no phantom; give another folder"):
        prepare_phantom(tmp_path, **SMALL)
    assert (tmp_path / "raw" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "changed",
    [{"patients": 0, "val_patients": 0}, {"seed": -1}, {"reconstructions": 4}, {"coarseness": 0}],
)
def test_an_impossible_phantom_is_refused(changed):
    with pytest.raises(ValueError, match="got"):
        PhantomSpec(grid=COARSE.grid, **changed)


def test_the_command_writes_raw_files_only_or_a_prepared_folder(tmp_path, capsys):
    call = ["--patients", "1", "--val-patients", "0", "--workers", "0", "--shape", "16", "12", "16"]
    assert main([*call, "--output", str(tmp_path / "raw"), "--raw-only"]) == 0
    assert (tmp_path / "raw" / "phantom.json").is_file()
    assert main([*call, "--output", str(tmp_path / "out")]) == 0
    assert "1 volumes" in capsys.readouterr().out
    assert main([*call, "--output", str(tmp_path / "out"), "--seed", "-1"]) == 2
