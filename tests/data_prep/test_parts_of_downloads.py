"""Row R6: few patients, and downloads of a part, give what is there."""

import csv

import pytest

from data_prep import acdc, cc_ccii, ctrg_chest, msd, stoic2021
from data_prep.ct_rate_tables import read_age
from data_prep.phantom.layouts.challenges import write_cc_ccii, write_stoic2021
from data_prep.phantom.layouts.chest import write_msd_lung
from data_prep.phantom.layouts.ctrg import write_ctrg_chest
from data_prep.phantom.layouts.heart import write_acdc
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

SMALL = RunOptions(settings=PrepareSettings(grid=Grid((4, 4, 4))), workers=0)
PICTURES = RunOptions(
    settings=PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit()), workers=0
)


def test_row_r6_few_patients_are_dealt_into_fewer_folds_on_request(tmp_path):
    write_acdc(tmp_path / "raw", 3, 0, cine=False)
    call = ["--source", str(tmp_path / "raw"), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert acdc.main(call) == 2
    assert acdc.main([*call, "--num-folds", "3", "--fold", "1"]) == 0
    rows = read_manifest(tmp_path / "out").rows
    assert rows.groupby("fold")["patient_id"].nunique().to_dict() == {"0": 1, "1": 1, "2": 1}
    assert set(rows["fold"][rows["split"] == "val"]) == {"1"}
    assert acdc.main([*call, "--num-folds", "3", "--fold", "3"]) == 2
    assert acdc.main([*call, "--num-folds", "1"]) == 2


def test_row_r6_cc_ccii_and_stoic_take_fewer_folds_too(tmp_path, capsys):
    write_cc_ccii(tmp_path / "cc", 3, 0)
    call = ["--source", str(tmp_path / "cc"), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert cc_ccii.main([*call, "--shape", "4", "4", "4"]) == 2
    assert "5 folds of 3 patients" in capsys.readouterr().err
    assert cc_ccii.main([*call, "--shape", "4", "4", "4", "--num-folds", "3"]) == 0
    rows = read_manifest(tmp_path / "out").rows
    assert rows.groupby("split")["patient_id"].nunique().to_dict() == {
        "test": 1, "train": 1, "val": 1,
    }  # fmt: skip
    assert cc_ccii.main([*call, "--num-folds", "2"]) == 2


@pytest.mark.parametrize(
    ("text", "years"),
    [("45", 45.0), ("045Y", 45.0), ("45.0", 45.0), (" 45y ", 45.0), ("018M", 1.5), ("7", 7.0),
     ("", None), ("old", None), ("45X", None), ("4567", None), ("-4", None)],
)  # fmt: skip
def test_row_r6_an_age_without_a_letter_is_years(text, years):
    assert read_age(text) == years


def test_row_r6_stoic_keeps_the_age_45_of_its_header(tmp_path):
    write_stoic2021(tmp_path / "raw", 2, 0)
    for path in (tmp_path / "raw/data/mha").glob("*.mha"):
        content = path.read_bytes()
        start = content.index(b"PatientAge = ") + len(b"PatientAge = ")
        end = content.index(b"\n", start)
        path.write_bytes(content[:start] + b"45" + content[end:])
    stoic2021.prepare_stoic2021(tmp_path / "raw", tmp_path / "out", SMALL, folds=2)
    with (tmp_path / "out/scans.csv").open(newline="") as file:
        assert [row["age_years"] for row in csv.DictReader(file)] == ["45.0", "45.0"]


def test_row_r6_where_no_image_of_the_records_is_there_it_is_said(tmp_path, capsys):
    write_ctrg_chest(tmp_path / "ctrg", 3, 0)
    for path in (tmp_path / "ctrg").rglob("*.nii.gz"):
        path.unlink()
    call = ["--source", str(tmp_path / "ctrg"), "--output", str(tmp_path / "out")]
    assert ctrg_chest.main(call) == 2
    assert "(3 records without volume, first 0); check the folder" in capsys.readouterr().err


def test_row_r6_cases_of_a_table_that_are_not_there_are_counted_and_not_refused(tmp_path):
    write_msd_lung(tmp_path / "msd", 3, 0)
    root = tmp_path / "msd/Task06_Lung"
    (root / "imagesTr/lung_023.nii.gz").unlink()
    done = msd.prepare_msd(root, tmp_path / "a", SMALL)
    assert (done.taken, done.exit_status) == (2, 0)
    facts = read_manifest(tmp_path / "a").facts
    assert facts["cases_without_volume"] == {"count": 1, "first": ["lung_023"]}
    write_ctrg_chest(tmp_path / "ctrg", 3, 0)
    next((tmp_path / "ctrg").rglob("20.nii.gz")).unlink()
    done = ctrg_chest.prepare_ctrg_chest(tmp_path / "ctrg", tmp_path / "b", PICTURES)
    assert (done.taken, done.exit_status) == (2, 0)
    facts = read_manifest(tmp_path / "b").facts
    assert facts["records_without_volume"] == {"count": 1, "first": ["20"]}
    write_cc_ccii(tmp_path / "cc", 3, 0)
    import shutil

    gone = next(path for path in (tmp_path / "cc").glob("*/1/10"))
    shutil.rmtree(gone)
    done = cc_ccii.prepare_cc_ccii(
        tmp_path / "cc", tmp_path / "c", PICTURES, folds=tmp_path / "cc/folds"
    )
    assert done.exit_status == 0
    facts = read_manifest(tmp_path / "c").facts
    assert facts["listed_scans_without_folder"] == {"count": 1, "first": ["p1-s10"]}
