import shutil

import pytest

from data_prep.cc_ccii import main, prepare_cc_ccii
from data_prep.cc_ccii_folds import CLASSES, read_fold
from data_prep.phantom.layouts.challenges import COARSE, EXTENT_MM, diagnosis_of, write_cc_ccii
from data_prep.phantom.layouts.slices import to_grey
from data_prep.tables import TableError
from mg3d.data.manifest import read_manifest
from mg3d.data.prepared import read_array
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

AS_IT_IS = PrepareSettings(grid=Grid(None), intensity=EightBit())
SMALL = PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit())
PATIENTS, PHANTOM = 10, 2  # a seed with all three diagnoses
HEADER = "zip_file,target,label,patient_id,scan_id,n_slice,scan_count,all_scan_ids"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ccii")
    write_cc_ccii(folder, PATIENTS, seed=PHANTOM)
    return folder


@pytest.fixture
def raw(written, tmp_path):
    return shutil.copytree(written, tmp_path / "raw")


def prepared(source, output, *, settings=SMALL, **how):
    return prepare_cc_ccii(source, output, RunOptions(workers=0, settings=settings), **how)


def test_a_phantom_in_this_layout_comes_back_as_it_was_made(written, tmp_path):
    done = prepared(written, tmp_path, settings=AS_IT_IS)
    assert (done.exit_status, done.taken) == (0, 15)
    manifest = read_manifest(tmp_path)
    assert manifest.facts["label_classes"] == {"diagnosis": list(CLASSES)}
    rows = manifest.rows.set_index("volume_id")
    shape = tuple(round(e / s) for e, s in zip(EXTENT_MM, COARSE, strict=True))
    for patient in range(PATIENTS):
        plan = draw_patient(PHANTOM, patient)
        for which in range(2 - patient % 2):
            row = rows.loc[f"p{patient}-s{10 * patient + which}"]
            hu = draw_scan(plan, shape, COARSE, reconstruction=which).hu
            assert (read_array(tmp_path / row["volume"], "volume") == to_grey(hu)).all()
            assert CLASSES[int(row["diagnosis"])] == diagnosis_of(plan)
            assert row["patient_id"] == str(patient)
    assert set(rows["diagnosis"]) == {0, 1, 2}


def test_five_folds_by_patient_are_the_default(written, tmp_path):
    held_out = {}
    for fold in (0, 1):
        prepared(written, tmp_path / str(fold), fold=fold)
        rows = read_manifest(tmp_path / str(fold)).rows
        assert rows.groupby("patient_id")["split"].nunique().max() == 1
        assert set(rows["split"]) == {"train", "val", "test"}
        held_out[fold] = set(rows["patient_id"][rows["split"] == "test"])
        assert len(held_out[fold]) == 2
    assert not held_out[0] & held_out[1]


def test_a_released_fold_is_taken_from_its_tables(written, tmp_path):
    done = prepared(written, tmp_path, folds=written / "folds")
    rows = read_manifest(tmp_path).rows
    val = {str(patient) for patient in range(PATIENTS) if patient % 5 < 2}
    assert set(rows["patient_id"][rows["split"] == "val"]) == val
    assert set(rows["patient_id"][rows["split"] == "train"]) == {"2", "3", "4", "7", "8", "9"} - val
    assert done.exit_status == 0


def test_scans_that_disagree_with_the_tables_are_refused(raw, tmp_path):
    path = raw / "folds" / "CC_CCII_fold0_valid.csv"
    lines = path.read_text().splitlines()
    first = lines[1].split(",")
    (scan,) = raw.glob(f"*/{first[3]}/{first[4]}")
    next(iter(scan.iterdir())).unlink()
    path.write_text("\n".join([lines[0], *lines[1:2], *lines[3:]]) + "\n")
    done = prepared(raw, tmp_path / "out", folds=raw / "folds")
    assert done.exit_status == 3
    (refusal,) = done.refused
    slices = int(first[5])
    assert refusal.reason.startswith(f"{slices - 1} slices, but the fold table says {slices}")
    (left_out,) = done.left_out
    assert "not in the tables of the released fold" in left_out.reason
    wrong = "CP" if first[2] != "CP" else "Normal"
    moved = raw / wrong / first[3]
    moved.mkdir(parents=True)
    shutil.move(scan, moved / first[4])
    done = prepared(raw, tmp_path / "moved", folds=raw / "folds")
    assert f"in folder {wrong}, but the fold table says {first[2]}" in done.refused[0].reason


def test_a_scan_that_is_there_twice_is_taken_once(raw, tmp_path):
    (scan,) = raw.glob("*/1/10")
    other = next(name for name in CLASSES if name != scan.parts[-3])
    shutil.copytree(scan, raw / other / "1" / "10")
    done = prepared(raw, tmp_path / "out")
    assert [r.reason.startswith("the same patient and scan as") for r in done.refused] == [True]
    assert done.taken == 15


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("z,2,CP,1,1,9,1,[1]", "label 'CP' and target '2', expected Normal"),
        ("z,1,cp,1,1,9,1,[1]", "label 'cp' and target '1', expected Normal"),
        ("z,1,CP,1,1,,1,[1]", "n_slice ''"),
        ("z,x,CP,1,1,9,1,[1]", "'x' is no number"),
        ("z,1,CP,7,70,8,1,[70]", "scan '70' has another row that says something else"),
        ('z,1,CP,8,81,9,2,"[80, 81]"', "patient '8' is also in the other table"),
    ],
)
def test_a_row_of_a_fold_table_that_is_wrong_is_named(line, reason, tmp_path):
    for side, own in (("train", "z,1,CP,8,80,9,1,[80]"), ("valid", "z,1,CP,7,70,9,1,[70]")):
        rows = [HEADER, own, *([line] if side == "valid" else [])]
        (tmp_path / f"CC_CCII_fold0_{side}.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(TableError, match=r"fold0_valid\.csv, line 3: ") as error:
        read_fold(tmp_path, 0)
    assert reason in str(error.value)


def test_exit_status_of_the_command(raw, tmp_path, capsys):
    call = ["--source", str(raw), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main(call) == 0
    settings = read_manifest(tmp_path / "out").facts["settings"]
    assert settings["grid"]["spacing_mm"] is None
    assert settings["intensity"]["rule"] == "8 bit"
    assert main([*call, "--fold", "5"]) == 2
    assert main([*call, "--folds", str(raw / "folds"), "--fold", "2"]) == 2
    assert "CC_CCII_fold2_train.csv is missing" in capsys.readouterr().err
    assert main([*call, "--source", str(raw / "folds")]) == 2
    assert "none of the folders Normal, CP, NCP" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fold", "train", "val"), [(0, 2514, 1664), (1, 2515, 1663), (2, 2517, 1661)]
)
def test_the_real_fold_tables_are_by_patient_and_of_the_counted_size(fold, train, val, shared_data):
    listed = read_fold(shared_data / "splits" / "cc-ccii", fold)
    splits = [scan.split for scan in listed.values()]
    assert (splits.count("train"), splits.count("val")) == (train, val)
    assert len({patient for patient, _ in listed}) == 2742
