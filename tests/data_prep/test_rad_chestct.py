"""Rad-ChestCT: where its arrays lie, what its labels stand for, and what is refused."""

import csv
import io
import json
import re
import zipfile

import numpy as np
import pytest

from data_prep.phantom.layouts.rad_chestct import PAINTED, REPEATED, array_of, write_rad_chestct
from data_prep.rad_chestct import main, prepare_rad_chestct
from data_prep.rad_chestct_tables import COUNTERPART, LABELS, WITHOUT_COUNTERPART
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import read_manifest
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import VolumeError, read_volume, to_original

SMALL = PrepareSettings(grid=Grid((8, 8, 8)))
PATIENTS = 4
TRAIN = "imgtrain_Abnormality_and_Location_Labels.csv"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rad_chestct")
    write_rad_chestct(folder, PATIENTS, seed=0)
    return folder


@pytest.fixture
def raw(written, tmp_path):
    """The same scans, as small arrays, beside tables of its own."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for path in written.iterdir():
        if path.suffix == ".npz":
            save(folder / path.name, ct=small_array())
        else:
            (folder / path.name).write_text(path.read_text())
    return folder


def prepared(source, output, *, settings=SMALL, **how):
    return prepare_rad_chestct(source, output, RunOptions(workers=0, settings=settings), **how)


def facts_of(output):
    return json.loads((output / "dataset.json").read_text())


def small_array():
    """A chest of distinct corners: bright above, in front and on the right of the patient."""
    hu = np.full((40, 36, 44), -1000, np.int16)
    hu[4:36, 4:32, 4:40] = 40
    hu[5:8, 14:20, 20:24] = 900  # axis 0 begins above
    hu[18:22, 5:8, 20:24] = 700  # axis 1 begins in front
    hu[18:22, 14:20, 5:8] = 500  # axis 2 begins at the patient's right
    return hu


def save(path, **arrays):
    np.savez_compressed(path, **arrays)
    return path


def centre_of(volume, value):
    """World position (RAS+ mm) of the voxels of this value."""
    index = np.argwhere(volume.voxels == value).mean(axis=0)
    return volume.affine[:3, :3] @ index + volume.affine[:3, 3]


def test_axes_run_to_inferior_posterior_and_left_at_0_8_mm(tmp_path):
    volume = read_volume(save(tmp_path / "a.npz", ct=small_array()))
    assert volume.stored.axes == "IPL"
    assert volume.spacing_mm == pytest.approx((0.8, 0.8, 0.8))
    assert (volume.voxels == small_array()[::-1, ::-1, ::-1]).all()
    assert centre_of(volume, 900)[2] == pytest.approx((19.5 - 6) * 0.8)  # z: superior
    assert centre_of(volume, 700)[1] == pytest.approx((17.5 - 6) * 0.8)  # y: anterior
    assert centre_of(volume, 500)[0] == pytest.approx((21.5 - 6) * 0.8)  # x: the patient's right
    assert any("states no geometry" in warning for warning in volume.warnings)


def test_a_prepared_array_finds_its_way_back_to_the_published_one(tmp_path):
    volume = read_volume(save(tmp_path / "a.npz", ct=small_array()))
    back = to_original(volume.voxels, volume.affine, volume.stored)
    assert (back == small_array()).all()


@pytest.mark.parametrize(
    "array",
    [
        small_array().astype(">i2"),
        np.asfortranarray(small_array()),
        small_array().astype(np.float32),
        small_array().astype(np.int32),
    ],
    ids=["big endian", "by columns", "float", "wide"],
)
def test_the_same_numbers_stored_otherwise_are_the_same_volume(tmp_path, array):
    stored = read_volume(save(tmp_path / "a.npz", ct=array))
    assert (stored.voxels == small_array()[::-1, ::-1, ::-1]).all()
    np.savez(tmp_path / "b.npz", ct=array)  # not compressed
    assert (read_volume(tmp_path / "b.npz").voxels == stored.voxels).all()


def test_values_beyond_the_published_range_are_a_warning(tmp_path):
    array = small_array()
    array[0, 0, 0] = -3024
    volume = read_volume(save(tmp_path / "a.npz", ct=array))
    assert any("values -3024 to 900" in warning for warning in volume.warnings)


def test_a_phantom_in_this_layout_comes_back_as_it_was_painted(written, tmp_path):
    done = prepared(written, tmp_path, settings=SMALL)
    assert done.exit_status == 0
    manifest = read_manifest(tmp_path)
    rows = manifest.rows.set_index("volume_id")
    assert set(rows["split"]) == {"test"} and len(rows) == PATIENTS + 2
    assert rows.groupby("patient_id").size().tolist() == [2, 1, 1, 2]
    assert manifest.labels == LABELS
    for name, row in rows.iterrows():
        patient = int(row["patient_id"].removeprefix("mrn"))
        plan = draw_patient(0, patient)
        scan = draw_scan(plan, PAINTED, (4.0, 4.0, 4.0), reconstruction=int(name[3:]) % 2)
        stored = read_volume(written / f"{name}.npz").voxels
        assert (stored[2::REPEATED, 2::REPEATED, 2::REPEATED] == scan.hu.clip(-1000, 1000)).all()
        there = dict(zip(CT_RATE_FINDINGS, plan.labels(), strict=True))
        for finding in set(LABELS) - {"Arterial wall calcification"}:
            same = [f for f in LABELS if COUNTERPART[f] == COUNTERPART[finding]]
            assert row[finding] == max(there[f] for f in same)
    assert array_of(draw_patient(0, 0)).shape == tuple(REPEATED * n for n in PAINTED)


def test_the_released_split_is_by_patient(raw, tmp_path):
    prepared(raw, tmp_path / "out", split="released")
    rows = read_manifest(tmp_path / "out").rows
    assert rows.groupby("split")["patient_id"].nunique().to_dict() == {
        "train": 2,
        "val": 1,
        "test": 1,
    }
    assert (rows.groupby("patient_id")["split"].nunique() == 1).all()


def test_every_finding_has_a_counterpart_or_is_named_as_without(raw, tmp_path):
    prepared(raw, tmp_path / "out")
    facts = facts_of(tmp_path / "out")
    assert tuple(COUNTERPART) == CT_RATE_FINDINGS and len(LABELS) == 15
    assert WITHOUT_COUNTERPART == (
        "Medical material", "Lymphadenopathy", "Mosaic attenuation pattern",
    )  # fmt: skip
    assert facts["findings_without_counterpart"] == list(WITHOUT_COUNTERPART)
    assert facts["label_counterparts"]["Hiatal hernia"] == "hernia"
    assert "hernia of any kind" in facts["coarser_counterparts"]["Hiatal hernia"]
    assert facts["abnormalities_without_counterpart"] == [
        "catheter_or_port",
        "lymphadenopathy",
        "mass",
    ]
    assert "reports" not in facts and "states no geometry" in facts["geometry"]
    with (tmp_path / "out" / "abnormalities.csv").open(newline="") as table:
        rows = {row["volume_id"]: row for row in csv.DictReader(table)}
    assert all(row["mass"] == row["nodule"] for row in rows.values())


def test_an_abnormality_is_present_where_any_location_says_so(raw, tmp_path):
    lines = (raw / TRAIN).read_text().splitlines()
    header = lines[0].split(",")
    fields = ["0"] * len(header)
    fields[0] = lines[1].split(",")[0]
    for column in range(1, len(header)):
        name = header[column]
        fields[column] = {
            "nodule*other_location": "1.0", "hernia*left_lung": "", "opacity*heart": "1",
            "opacity*left_lung": "", "fibrosis*heart": "0.0",
        }.get(name, "0")  # fmt: skip
    (raw / TRAIN).write_text("\n".join([lines[0], ",".join(fields), *lines[2:]]))
    prepared(raw, tmp_path / "out")
    row = read_manifest(tmp_path / "out").rows.set_index("volume_id").loc[fields[0]]
    assert (row["Lung nodule"], row["Lung opacity"]) == (1, 1)
    assert (row["Pulmonary fibrotic sequela"], row["Emphysema"]) == (0, 0)
    assert np.isnan(row["Hiatal hernia"])


def test_part_of_a_download_is_counted_and_not_refused(raw, tmp_path):
    (raw / "trn00000.npz").unlink()
    (raw / "parts").mkdir()
    (raw / "val00004.npz").rename(raw / "parts" / "val00004.npz")
    (raw / "imgtest_Abnormality_and_Location_Labels.csv").unlink()
    done = prepared(raw, tmp_path / "out")
    assert done.exit_status == 0 and done.taken == PATIENTS + 1
    facts = facts_of(tmp_path / "out")
    assert facts["scans_without_volume"] == {"count": 1, "first": ["trn00000"]}
    assert facts["scans_without_labels"] == {"count": 2, "first": ["tst00006", "tst00007"]}


def test_a_file_outside_the_summary_or_there_twice_is_refused(raw, tmp_path):
    save(raw / "new.npz", ct=small_array())
    (raw / "copy").mkdir()
    save(raw / "copy" / "trn00000.npz", ct=small_array())
    done = prepared(raw, tmp_path / "out")
    reasons = {refusal.file: refusal.reason for refusal in done.refused}
    assert "no row for it in Summary_3630.csv" in reasons["new.npz"]
    assert "the same scan as copy/trn00000.npz" in reasons["trn00000.npz"]


def test_rows_that_contradict_one_another_are_refused(raw, tmp_path):
    summary = raw / "Summary_3630.csv"
    summary.write_text(summary.read_text() + "mrn9,trn00000,test,imgtest_a\nmrn8,a b,odd,x\n")
    lines = (raw / TRAIN).read_text().splitlines()
    other = lines[-1].replace("0", "1").split(",")[1:]
    (raw / TRAIN).write_text("\n".join([*lines, ",".join(["trn00002", *other])]) + "\n")
    done = prepared(raw, tmp_path / "out")
    reasons = " | ".join(f"{refusal.file} {refusal.reason}" for refusal in done.refused)
    assert "another row of trn00000 says otherwise" in reasons
    assert "another row of 'trn00002' has other labels" in reasons
    assert "is no id of a scan" in reasons
    rows = read_manifest(tmp_path / "out").rows.set_index("volume_id")
    assert "trn00000" not in rows.index
    assert rows.loc["trn00002", list(LABELS)].isna().all()


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("nodule*", "knot*", r"column nodule\*location not found"),
        ("NoteAcc_DEID", "Note", "column NoteAcc_DEID not found"),
        (",0,", ",maybe,", "'maybe' is no number"),
        (",0,", ",2,", "'2' is neither 0 nor 1"),
        (",0,", ",0,0,", "fields, expected"),
        ("atelectasis*heart", "atelectasis*left_lung", "a column is there twice"),
    ],
)
def test_a_damaged_table_of_labels_is_named(raw, tmp_path, old, new, message, capsys):
    text = (raw / TRAIN).read_text()
    assert old in text
    (raw / TRAIN).write_text(text.replace(old, new, 1) if old == ",0," else text.replace(old, new))
    assert main(["--source", str(raw), "--output", str(tmp_path / "out"), "--workers", "0"]) == 2
    error = capsys.readouterr().err
    assert TRAIN in error
    assert re.search(message, error)


def test_tables_as_spreadsheets_save_them_are_the_same_tables(raw, tmp_path):
    prepared(raw, tmp_path / "out")
    for path in raw.glob("*.csv"):
        lines = path.read_text().splitlines()
        text = "\r\n".join(f"{line},," for line in [*lines, "," * lines[0].count(",")])
        path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    done = prepared(raw, tmp_path / "saved")
    assert done.exit_status == 0
    for name in ("manifest.csv", "abnormalities.csv"):
        assert (tmp_path / "saved" / name).read_text() == (tmp_path / "out" / name).read_text()


@pytest.mark.parametrize(
    "content, message",
    [(b"PK\x03\x04", "Excel workbook"), (b"", "empty file"), (b"<html>", "a web page"),
     (b"\x1f\x8b", "gzip"), (b"NoteAcc_DEID\xff", "not UTF-8")],
)  # fmt: skip
def test_what_is_no_table_is_said(raw, tmp_path, content, message, capsys):
    (raw / TRAIN).write_bytes(content)
    assert main(["--source", str(raw), "--output", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_without_summary_or_labels_nothing_is_begun(raw, tmp_path, capsys):
    for path in raw.glob("img*.csv"):
        path.unlink()
    assert main(["--source", str(raw), "--output", str(tmp_path / "out")]) == 2
    assert "nothing to evaluate" in capsys.readouterr().err
    (raw / "Summary_3630.csv").unlink()
    assert main(["--source", str(raw), "--output", str(tmp_path / "out")]) == 2
    assert "Summary_3630.csv is missing" in capsys.readouterr().err


def zipped(array_bytes, name="ct.npy"):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, array_bytes)
    return buffer.getvalue()


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    return buffer.getvalue()


WHOLE = zipped(npy(small_array()))
HUGE = npy(small_array()).replace(b"(40, 36, 44), }   ", b"(40000, 36000, 44)}", 1)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><p>log in", "web page"),
        (WHOLE[: len(WHOLE) // 2], "cut off"),
        (WHOLE[:500] + bytes([WHOLE[500] ^ 255]) + WHOLE[501:], "checksum|cannot be read"),
        (zipped(npy(small_array()), "volume.npy"), "no array 'ct' in it"),
        (zipped(b"not an array"), "cannot be read"),
        (zipped(npy(small_array())[:-100]), "cut off or damaged"),
        (zipped(npy(small_array()) + b"more"), "expected .* bytes of voxels"),
        (zipped(npy(small_array()[0])), "expected a 3-D array of numbers, got 2 axes"),
        (zipped(npy(np.array([[[{"a": 1}]]], dtype=object))), "kind 'O'"),
        (zipped(npy(np.zeros((3, 3, 3), np.complex64))), "kind 'c'"),
        (zipped(HUGE), "cut off or damaged|cannot be read"),
        (zipped(npy(small_array()[:1])), "one slice only"),
    ],
)
def test_a_file_that_is_no_array_of_this_set_is_refused_by_name(tmp_path, content, message):
    path = tmp_path / "trn00001.npz"
    path.write_bytes(content)
    with pytest.raises(VolumeError, match=message) as caught:
        read_volume(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_bad_array_never_stops_the_others(raw, tmp_path):
    (raw / "trn00000.npz").unlink()
    (raw / "trn00000.npz").write_bytes(WHOLE[:100])
    done = prepared(raw, tmp_path / "out")
    assert done.exit_status == 3 and done.taken == PATIENTS + 1
    assert [refusal.file for refusal in done.refused] == ["trn00000.npz"]
