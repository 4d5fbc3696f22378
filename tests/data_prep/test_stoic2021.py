import csv

import numpy as np
import pytest

from data_prep.phantom.layouts.challenges import COARSE, EXTENT_MM, covid_of, write_stoic2021
from data_prep.stoic2021 import main, prepare_stoic2021
from mg3d.data.manifest import read_manifest
from mg3d.data.prepared import read_array
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid

AS_IT_IS = PrepareSettings(grid=Grid(None))
SMALL = PrepareSettings(grid=Grid((8, 8, 8)))
PATIENTS = 20


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stoic")
    write_stoic2021(folder, PATIENTS, seed=0)
    return folder


@pytest.fixture
def raw(written, tmp_path):
    """Links to the volumes beside a table of its own."""
    (tmp_path / "raw" / "metadata").mkdir(parents=True)
    (tmp_path / "raw" / "data").symlink_to(written / "data")
    table = (written / "metadata" / "reference.csv").read_text()
    (tmp_path / "raw" / "metadata" / "reference.csv").write_text(table)
    return tmp_path / "raw"


def prepared(source, output, *, settings=SMALL, **how):
    return prepare_stoic2021(source, output, RunOptions(workers=0, settings=settings), **how)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def change(raw, old, new):
    path = raw / "metadata" / "reference.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_phantom_in_this_layout_comes_back_as_it_was_made(written, tmp_path):
    done = prepared(written, tmp_path, settings=AS_IT_IS)
    assert done.exit_status == 0
    rows = read_manifest(tmp_path).rows.set_index("volume_id")
    scans = {row["volume_id"]: row for row in rows_of(tmp_path / "scans.csv")}
    shape = tuple(round(e / s) for e, s in zip(EXTENT_MM, COARSE, strict=True))
    for patient in range(PATIENTS):
        plan, name = draw_patient(0, patient), str(patient + 1)
        hu = draw_scan(plan, shape, COARSE).hu.astype(np.float32)
        expected = np.rint(np.clip((hu + 1000) / 2000, 0, 1) * 255)
        assert (read_array(tmp_path / rows.loc[name, "volume"], "volume") == expected).all()
        assert tuple(rows.loc[name, ["covid", "severe"]]) == covid_of(plan)
        assert scans[name]["sex"] == plan.sex
        assert float(scans[name]["age_years"]) == plan.age
    assert set(map(covid_of, (draw_patient(0, p) for p in range(PATIENTS)))) == {
        (0, 0), (1, 0), (1, 1),
    }  # fmt: skip


def test_folds_are_by_patient_and_do_not_depend_on_who_is_there(written, raw, tmp_path):
    prepared(written, tmp_path / "all")
    rows = read_manifest(tmp_path / "all").rows
    assert rows.groupby("fold").size().tolist() == [4] * 5
    assert set(rows["fold"][rows["split"] == "val"]) == {"0"}
    assert set(rows["fold"][rows["split"] == "train"]) == {"1", "2", "3", "4"}
    (raw / "data").unlink()
    (raw / "data" / "mha").mkdir(parents=True)
    for name in ("3", "7"):
        link = raw / "data" / "mha" / f"{name}.mha"
        link.symlink_to(written / "data" / "mha" / f"{name}.mha")
    done = prepared(raw, tmp_path / "some")
    some = read_manifest(tmp_path / "some")
    fold_of = dict(zip(rows["volume_id"], rows["fold"], strict=True))
    assert {v: fold_of[v] for v in ("3", "7")} == dict(
        zip(some.rows["volume_id"], some.rows["fold"], strict=True)
    )
    assert some.facts["patients_without_volume"] == PATIENTS - 2
    assert done.exit_status == 0


def test_another_fold_and_seed_hold_out_others(written, tmp_path):
    held_out = []
    for number, how in enumerate(({}, {"fold": 1}, {"seed": 1})):
        prepared(written, tmp_path / str(number), **how)
        rows = read_manifest(tmp_path / str(number)).rows
        held_out.append(set(rows["patient_id"][rows["split"] == "val"]))
    assert not held_out[0] & held_out[1]
    assert held_out[0] != held_out[2]


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        ("\n1,0,1\n", "severe COVID-19 without COVID-19"),
        ("\n1,,0\n", "a label is empty"),
        ("\n1,0,0\n1,1,0\n", "another row has other labels"),
    ],
)
def test_a_patient_whose_labels_cannot_be_is_refused(new, reason, raw, tmp_path):
    change(raw, "\n1,0,0\n", new)
    done = prepared(raw, tmp_path / "out")
    (refusal,) = done.refused
    assert refusal.file == "data/mha/1.mha"
    assert reason in refusal.reason
    assert "1" not in read_manifest(tmp_path / "out").rows["volume_id"].tolist()


def test_a_volume_without_a_row_is_refused(raw, tmp_path):
    change(raw, "\n1,0,0\n", "\n")
    done = prepared(raw, tmp_path / "out")
    assert [r.reason for r in done.refused] == ["no row for patient 1 in metadata/reference.csv"]


def test_exit_status_of_the_command(raw, tmp_path, capsys):
    call = ["--source", str(raw), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main([*call, "--shape", "8", "8", "8"]) == 0
    assert main([*call, "--fold", "5"]) == 2
    assert "fold is 0 to 4, got 5" in capsys.readouterr().err
    change(raw, "\n1,0,0\n", "\n1,0.3,0\n")
    assert main(call) == 2
    assert "reference.csv, line 2: '0.3' is neither 0 nor 1" in capsys.readouterr().err
    change(raw, "probSevere", "severe")
    assert main(call) == 2
    assert "column probSevere not found" in capsys.readouterr().err
