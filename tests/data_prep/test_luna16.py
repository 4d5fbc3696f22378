import csv
import shutil

import numpy as np
import pytest

from data_prep.luna16 import main, prepare_luna16
from data_prep.phantom.layouts.challenges import (
    EXTENT_MM,
    FINE,
    UID,
    nodules_of,
    write_luna16,
)
from data_prep.tables import TableError
from mg3d.data.manifest import read_manifest
from mg3d.data.prepared import read_array, read_facts
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.scanner import draw_scan
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.preparation.shards import Shard, merge
from mg3d.volumes.grid import Grid

AS_IT_IS = PrepareSettings(grid=Grid(None), hu_window=(-1000.0, 600.0))
PATIENTS = 11


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("luna")
    write_luna16(folder, PATIENTS, seed=0)
    return folder


@pytest.fixture(scope="module")
def scans():
    """The phantoms behind the files."""
    shape = tuple(round(e / s) for e, s in zip(EXTENT_MM, FINE, strict=True))
    plans = (draw_patient(0, patient) for patient in range(1000))
    with_nodules = (p for p in plans if any(f.name == "Lung nodule" for f in p.findings))
    return [draw_scan(next(with_nodules), shape, FINE) for _ in range(PATIENTS)]


def prepared(source, output, *, settings=AS_IT_IS, shard=None, **how):
    options = RunOptions(workers=0, settings=settings, shard=shard)
    return prepare_luna16(source, output, options, **how)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_scans_and_nodules_come_back_where_they_were_planted(raw, scans, tmp_path):
    done = prepared(raw, tmp_path)
    assert done.exit_status == 0
    found = rows_of(tmp_path / "candidates.csv")
    sizes = rows_of(tmp_path / "annotations.csv")
    for number, scan in enumerate(scans):
        uid = UID.format(100_000 + number)
        split = "train" if number % 10 < 5 else "val" if number % 10 < 7 else "test"
        voxels = read_array(tmp_path / f"volumes/{split}/{uid}.safetensors", "volume")
        expected = np.rint(np.clip((scan.hu.astype(np.float32) + 1000) / 1600, 0, 1) * 255)
        assert (voxels == expected).all()
        own = [row for row in found if row["volume_id"] == uid]
        planted = nodules_of(scan)
        places = np.array([[float(row[axis]) for axis in "hwd"] for row in own])
        assert [row["label"] for row in own] == ["1"] * len(planted) + ["0"] * 6
        for place, (centre, diameter), size in zip(
            places, planted, (r for r in sizes if r["volume_id"] == uid), strict=False
        ):
            assert np.abs(place - centre).max() < 2e-3
            assert float(size["diameter_mm"]) == pytest.approx(diameter, abs=1e-3)
            assert [size[axis] for axis in "hwd"] == [str(v) for v in place]
        for place in np.rint(places[len(planted) :]).astype(int):
            assert -950 < scan.hu[tuple(place)] < -700  # lung, as written


def test_places_are_those_of_the_prepared_file_on_any_grid(raw, tmp_path):
    settings = PrepareSettings(grid=Grid((40, 30, 50), (9.0, 8.0, 7.0)))
    prepared(raw, tmp_path, settings=settings)
    world = {(r["seriesuid"], i): r for i, r in enumerate(rows_of(raw / "candidates.csv"))}
    rows = read_manifest(tmp_path).rows.set_index("volume_id")
    found = rows_of(tmp_path / "candidates.csv")
    assert len(found) == len(world)
    for (uid, _), there, here in zip(world, world.values(), found, strict=True):
        affine = np.array(read_facts(tmp_path / rows.loc[uid, "volume"])["affine"])
        ras = (affine @ [*(float(here[axis]) for axis in "hwd"), 1])[:3]
        lps = ras * [-1, -1, 1]
        assert np.abs(lps - [float(there[f"coord{axis}"]) for axis in "XYZ"]).max() < 0.01


def test_subsets_are_folds_and_make_the_split(raw, tmp_path):
    prepared(raw, tmp_path, settings=PrepareSettings(grid=Grid((8, 8, 8))))
    manifest = read_manifest(tmp_path)
    split_of = dict(zip(manifest.rows["fold"], manifest.rows["split"], strict=True))
    assert split_of == {str(n): "train" if n < 5 else "val" if n < 7 else "test" for n in range(10)}
    facts = manifest.facts
    assert facts["candidates"] == len(rows_of(raw / "candidates.csv"))
    assert facts["candidates_without_scan"] == 0
    assert facts["positive_candidates"] == len(rows_of(raw / "annotations.csv"))


@pytest.fixture
def some(raw, tmp_path):
    """Two subsets, one of them unpacked a folder deeper."""
    folder = tmp_path / "some"
    shutil.copytree(raw / "subset0", folder / "subset0" / "subset0")
    shutil.copytree(raw / "subset7", folder / "subset7")
    for name in ("candidates.csv", "annotations.csv"):
        shutil.copy(raw / name, folder)
    return folder


def test_subsets_that_are_not_there_are_only_counted(some, tmp_path):
    done = prepared(some, tmp_path / "out")
    assert (done.taken, done.exit_status) == (3, 0)
    facts = read_manifest(tmp_path / "out").facts
    found = rows_of(tmp_path / "out" / "candidates.csv")
    assert len(found) + facts["candidates_without_scan"] == facts["candidates"]
    assert facts["candidates_without_scan"] > 0


def test_a_scan_without_its_raw_file_takes_its_candidates_with_it(some, tmp_path):
    (raw_file,) = (some / "subset7").glob("*.raw")
    raw_file.unlink()
    (twin,) = (some / "subset7").glob("*.mhd")
    shutil.copy(twin, some / "subset0" / twin.name)
    done = prepared(some, tmp_path / "out")
    assert done.exit_status == 3
    reasons = {r["file"]: r["reason"] for r in rows_of(tmp_path / "out" / "refused.csv")}
    assert any("is missing" in reason for reason in reasons.values())
    assert any("the same scan as" in reason for reason in reasons.values())
    uids = {row["volume_id"] for row in rows_of(tmp_path / "out" / "candidates.csv")}
    assert uids == set(read_manifest(tmp_path / "out").rows["volume_id"])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1.2,0,0,0,2", "'2' is neither 0 nor 1"),
        ("1.2,x,0,0,1", "'x' is no number"),
        ("1.2,nan,0,0,1", "'nan' is no number"),
        ("1.2,,0,0,1", "a field is empty"),
        ("1.2,0,0,0,", "a field is empty"),
    ],
)
def test_a_candidate_that_is_nowhere_is_named_with_its_line(line, reason, some, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(f"seriesuid,coordX,coordY,coordZ,class\n1.2,0,0,0,1\n{line}\n")
    with pytest.raises(TableError, match=rf"own\.csv, line 3: {reason}"):
        prepared(some, tmp_path / "out", candidates=path)


def test_exit_status_of_the_command(some, tmp_path, capsys):
    call = ["--source", str(some), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main([*call, "--spacing", "12", "12", "12"]) == 0
    assert read_manifest(tmp_path / "out").facts["settings"]["hu_window"] == [-1000, 600]
    assert main([*call, "--source", str(tmp_path / "out")]) == 2
    assert "none of the folders subset0 to subset9" in capsys.readouterr().err
    (some / "candidates.csv").unlink()
    assert main(call) == 2
    assert "neither candidates.csv nor candidates_V2.csv" in capsys.readouterr().err


def test_two_shards_merged_are_one_run(some, tmp_path):
    settings = PrepareSettings(grid=Grid((8, 8, 8)))
    prepared(some, tmp_path / "one", settings=settings)
    for number in (1, 2):
        prepared(some, tmp_path / "two", settings=settings, shard=Shard(number, 2))
    merge(tmp_path / "two")
    for path in (tmp_path / "one").rglob("*.*"):
        if path.is_file():
            twin = tmp_path / "two" / path.relative_to(tmp_path / "one")
            assert twin.read_bytes() == path.read_bytes(), path.name
