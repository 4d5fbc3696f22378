import shutil

import numpy as np
import pytest

from data_prep.acdc import CLASSES, main, prepare_acdc
from data_prep.acdc_files import GROUPS
from data_prep.phantom.layouts.heart import COARSENESS, write_acdc, write_acdc_nnunet
from mg3d.data.manifest import LEAK, read_manifest, read_voxels
from mg3d.data.masks import mask_of, read_masks
from mg3d.data.prepared import read_facts
from mg3d.phantom.cardiac import PHASES, draw_frame, draw_heart
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid

AS_IT_IS = PrepareSettings(grid=Grid(None), dtype="float16")
PATIENTS = 8  # 7 for training, 1 for testing


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acdc")
    write_acdc(folder, PATIENTS, 0, cine=False)
    write_acdc(folder / "cine", 1, 0)
    (folder / "cine/training/patient001/patient001_4d.nii.gz").rename(
        folder / "training/patient001/patient001_4d.nii.gz"
    )
    shutil.rmtree(folder / "cine")
    return folder


@pytest.fixture(scope="module")
def nnunet(tmp_path_factory):
    folder = tmp_path_factory.mktemp("acdc")
    write_acdc_nnunet(folder, PATIENTS, 0)
    return folder


@pytest.fixture
def copy(official, tmp_path):
    """One that a test may damage."""
    return shutil.copytree(official, tmp_path / "acdc")


def drawn(patient):
    heart = draw_heart(0, patient, coarseness=COARSENESS)
    return heart, [draw_frame(heart, phase) for phase in PHASES]


def test_masks_labels_and_phases_come_back_exactly(official, tmp_path):
    done = prepare_acdc(official, tmp_path, RunOptions(settings=AS_IT_IS, workers=0))
    assert (done.taken, done.exit_status) == (2 * PATIENTS, 0)
    assert [r.file for r in done.left_out] == ["training/patient001/patient001_4d.nii.gz"]
    manifest = read_manifest(tmp_path)
    assert manifest.labels == ("group", "end_systole")
    assert manifest.facts["label_classes"] == {"group": list(GROUPS)}
    assert manifest.facts["unit"] == ["0 to 1"]
    rows = manifest.rows.set_index("volume_id")
    for patient in range(PATIENTS):
        number = patient + 1 if patient < 7 else 101
        heart, frames = drawn(patient)
        for systole, frame in enumerate(frames):
            row = rows.loc[f"patient{number:03d}_frame{heart.frames[systole]:02d}"]
            assert GROUPS[int(row["group"])] == heart.group
            assert row["end_systole"] == systole
            assert row["patient_id"] == f"patient{number:03d}"
            assert (row["split"] == "test") == (number > 100)
            masks = read_masks(tmp_path / row["masks"])
            np.testing.assert_array_equal(masks.numpy(), frame.classes)
            cavity = mask_of(masks, "left ventricle", manifest.masks_mean).numpy()
            np.testing.assert_array_equal(cavity, frame.classes == 3)
            low, high = np.percentile(frame.voxels, (0.5, 99.5))
            unit = np.clip((frame.voxels - low) / (high - low), 0, 1)
            voxels = read_voxels(tmp_path / row["volume"])
            np.testing.assert_allclose(voxels.numpy(), unit, atol=1e-3)
    facts = read_facts(tmp_path / rows["volume"].iloc[0])
    assert facts["hu_window"] is None
    assert "no HU: percentiles 0.5 and 99.5" in facts["rescale"]["reason"]


def test_resampled_in_plane_the_slices_stay(official, tmp_path):
    prepare_acdc(official, tmp_path, RunOptions(workers=0))
    rows = read_manifest(tmp_path).rows
    for row in rows.itertuples():
        facts = read_facts(tmp_path / row.volume)
        spacing = np.linalg.norm(np.array(facts["affine"])[:3, :3], axis=0)
        np.testing.assert_allclose(spacing[1:], 1.5, atol=1e-6)
        heart, frames = drawn(int(row.patient_id[-3:]) - 1 if row.split != "test" else 7)
        truth = frames[int(row.end_systole)]
        assert spacing[0] == pytest.approx(truth.spacing_mm[0], abs=1e-4)
        masks = read_masks(tmp_path / row.masks).numpy()
        assert masks.shape[0] == heart.shape[0]
        for number in range(1, len(CLASSES) + 1):
            found = (masks == number).sum() * 1.5 * 1.5
            planted = (truth.classes == number).sum() * np.prod(truth.spacing_mm[1:])
            assert found == pytest.approx(planted, rel=0.05)


def test_our_folds_are_by_patient(official, tmp_path):
    held_out = []
    for fold in "01234":
        prepare_acdc(official, tmp_path, RunOptions(settings=AS_IT_IS, workers=0), fold=fold)
        manifest = read_manifest(tmp_path)
        rows = manifest.rows
        assert LEAK not in manifest.facts
        assert rows.groupby("patient_id")["split"].nunique().max() == 1
        held_out += rows.loc[rows["split"] == "val", "patient_id"].unique().tolist()
        assert set(rows.loc[rows["split"] == "val", "fold"]) == {fold}
    assert sorted(held_out) == [f"patient{n:03d}" for n in range(1, 8)]


@pytest.mark.parametrize("layout", ["official", "nnunet"])
def test_released_folds_leak_and_say_so(layout, request, tmp_path):
    source = request.getfixturevalue(layout)
    done = prepare_acdc(
        source, tmp_path, RunOptions(settings=AS_IT_IS, workers=0), folds="released-1"
    )
    assert done.exit_status == 0
    manifest = read_manifest(tmp_path)
    rows = manifest.rows
    held_out = rows.loc[rows["split"] == "val"]
    numbers = held_out["patient_id"].str[-3:].astype(int).tolist()
    assert numbers == [1, 3, 5, 7]  # fold 0 holds out patient 6's first frame
    assert manifest.facts[LEAK] == {
        "split": "frame-wise fold 1 of MG-3D",
        "patients_on_two_sides": 4,
        "volumes_of_them": {"train": 4, "val": 4},
        "patients_of_split": {"train": 7, "val": 4} | ({"test": 1} if layout == "official" else {}),
    }


def test_without_dataset_json_a_leaking_table_is_refused(nnunet, tmp_path):
    prepare_acdc(nnunet, tmp_path, RunOptions(settings=AS_IT_IS, workers=0), folds="released-1")
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(ValueError, match="is in split 'val' and in split 'train'"):
        read_manifest(tmp_path)


def test_nnunet_gives_the_same_masks_but_knows_neither_group_nor_phase(official, nnunet, tmp_path):
    prepare_acdc(official, tmp_path / "a", RunOptions(settings=AS_IT_IS, workers=0))
    done = prepare_acdc(nnunet, tmp_path / "b", RunOptions(settings=AS_IT_IS, workers=0))
    assert len(done.left_out) == 2  # a test patient without labels
    one, other = (read_manifest(tmp_path / name).rows.set_index("volume_id") for name in "ab")
    assert other[["group", "end_systole"]].isna().all(axis=None)
    for volume_id, row in other.iterrows():
        pair = (tmp_path / "a" / one.loc[volume_id, "masks"], tmp_path / "b" / row["masks"])
        masks = [read_masks(path) for path in pair]
        assert (masks[0] == masks[1]).all()


def edit(card, old, new):
    text = card.read_text()
    assert old in text
    card.write_text(text.replace(old, new))


def test_a_patient_whose_files_are_wrong_is_named(copy, tmp_path):
    training = copy / "training"
    edit(training / "patient001/Info.cfg", "ED: 1", "ED: one")
    edit(training / "patient002/Info.cfg", "ED: 1\n", "")
    edit(training / "patient003/Info.cfg", "Group: ", "Group: X")
    (training / "patient004").rename(training / "patient4")
    (next((training / "patient005").glob("*frame01_gt*"))).unlink()
    done = prepare_acdc(
        copy, tmp_path / "out", RunOptions(settings=AS_IT_IS, workers=0), folds="released-0"
    )
    reasons = {r.file: r.reason for r in done.refused}
    assert "ED is 'one', expected the number" in reasons["training/patient001/Info.cfg"]
    assert "ED is 'missing'" in reasons["training/patient002/Info.cfg"]
    assert "expected one of NOR, MINF" in reasons["training/patient003/Info.cfg"]
    assert "a folder like patient001" in reasons["training/patient4/Info.cfg"]
    assert "frame01_gt is missing" in reasons["training/patient005/patient005_frame01"]
    assert sum("need both frames" in reason for reason in reasons.values()) == 1
    assert done.taken == 6
    assert done.exit_status == 3


def test_test_patients_without_masks_are_left_out_by_rule(copy, tmp_path):
    for path in (copy / "testing/patient101").glob("*_gt*"):
        path.unlink()
    done = prepare_acdc(copy, tmp_path / "out", RunOptions(settings=AS_IT_IS, workers=0))
    assert (done.taken, done.exit_status) == (14, 0)
    assert sum("_gt is missing" in refusal.reason for refusal in done.left_out) == 2


def test_wrong_calls(official, tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="neither patient folders with"):
        prepare_acdc(tmp_path, tmp_path / "out")
    with pytest.raises(ValueError, match="folds are patient, released-0"):
        prepare_acdc(official, tmp_path, folds="frame")
    with pytest.raises(ValueError, match="fold is 0 to 4, got '5'"):
        prepare_acdc(official, tmp_path, fold="5")
    call = ["--source", str(official), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main([*call, "--fold", "5"]) == 2
    assert "fold is 0 to 4" in capsys.readouterr().err
    assert main([*call, "--shape", "8", "16", "16"]) == 0
    settings = read_manifest(tmp_path / "out").facts["settings"]
    assert settings["intensity"] == {"low": 0.5, "high": 99.5, "rule": "percentiles"}
