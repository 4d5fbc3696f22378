import json
from dataclasses import replace

import numpy as np
import pytest

from data_prep.merge import main
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.preparation.shards import Shard, merge, parse_shard
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import write_nifti

SETTINGS = PrepareSettings(grid=Grid((4, 4, 4)))


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    raw = tmp_path_factory.mktemp("raw")
    hu = np.full((8, 8, 8), -1000, np.int16)
    hu[2:6] = 40
    made = []
    for patient in range(3):
        for scan in "ab":
            path = raw / f"{patient}{scan}.nii"
            write_nifti(path, hu + patient, np.eye(4))
            ids = {"volume_id": f"{patient}{scan}", "patient_id": f"{patient}"}
            made.append(ScanRecord(**ids, scan_id=path.stem, split="train", volume=path))
    return made


def run(records, output, shard, settings=SETTINGS):
    root = records[0].volume.parent
    options = RunOptions(settings=settings, shard=parse_shard(shard), workers=0)
    return prepare(records, output, DatasetDescription(source="test", root=root), options)


def test_every_patient_is_in_one_shard_with_all_scans():
    patients = [f"p{n}" for n in range(11)] * 2
    parts = [Shard(number, 4).patients(patients) for number in range(1, 5)]
    assert sorted(p for part in parts for p in part) == sorted(set(patients))
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert parts == [Shard(number, 4).patients(reversed(patients)) for number in range(1, 5)]


def test_a_shard_says_what_comes_next(records, tmp_path):
    done = run(records, tmp_path, "1/2")
    assert (done.taken, done.exit_status) == (4, 0)
    assert "shard 1/2: 4 volumes" in str(done)
    assert "python -m data_prep.merge --output" in str(done)
    assert not (tmp_path / "manifest.csv").exists()


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"])
def test_an_impossible_shard_is_refused(text):
    with pytest.raises(ValueError, match="a shard is i/n"):
        parse_shard(text)


def test_nothing_to_merge(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="holds no part; prepare with --shard"):
        merge(tmp_path)
    assert main(["--output", str(tmp_path)]) == 2
    assert "holds no part" in capsys.readouterr().err


def test_missing_shards_are_named(records, tmp_path):
    run(records, tmp_path, "2/3")
    with pytest.raises(ValueError, match=r"2 of 3 shards are missing: 1/3, 3/3; prepare them"):
        merge(tmp_path)


def test_parts_of_different_numbers_of_shards_are_refused(records, tmp_path):
    run(records, tmp_path, "1/3")
    run(records, tmp_path, "2/2")
    with pytest.raises(ValueError, match=r"different numbers of shards \(1of3.json, 2of2.json\)"):
        merge(tmp_path)


@pytest.mark.parametrize("changed", ["settings", "source", "text"])
def test_shards_that_do_not_belong_together_are_named(changed, records, tmp_path):
    run(records, tmp_path, "1/2")
    settings = replace(SETTINGS, dtype="float16") if changed == "settings" else SETTINGS
    others = records[:-1] if changed == "source" else records
    if changed == "text":
        others = [*records[:-1], replace(records[-1], findings="another text")]
    run(others, tmp_path, "2/2", settings)
    with pytest.raises(ValueError, match="shards 2/2 were made from another source"):
        merge(tmp_path)


def edit_part(folder, name, edit):
    path = folder / "parts" / name
    part = json.loads(path.read_text())
    edit(part)
    path.write_text(json.dumps(part))


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda p: p["made"].pop("1a"), "1 volumes are in no part; .* first 1a"),
        (lambda p: p["made"].update({"0a": ""}), "1 volumes are in two parts; .* first 0a"),
        (lambda p: p["refused"].update({"0b": "x"}), "1 volumes are in two parts; .* first 0b"),
        (lambda p: p["made"].update({"9z": ""}), "1 volumes are in a part, but not planned"),
        (lambda p: p["made"].update({"1a": "0"}), "have no such file as their part says"),
    ],
)
def test_every_planned_volume_is_there_once(edit, reason, records, tmp_path):
    run(records, tmp_path, "1/2")
    run(records, tmp_path, "2/2")
    edit_part(tmp_path, "2of2.json", edit)
    with pytest.raises(ValueError, match=reason):
        merge(tmp_path)


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_volume_lost_since_is_named(damage, records, tmp_path):
    run(records, tmp_path, "1/1")
    path = tmp_path / "volumes/train/2b.safetensors"
    path.unlink() if damage == "gone" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="first 2b"):
        merge(tmp_path)
    run(records, tmp_path, "1/1")
    assert merge(tmp_path).taken == 6


def test_a_damaged_part_is_named(records, tmp_path):
    run(records, tmp_path, "1/1")
    (tmp_path / "parts" / "1of1.json").write_text("{")
    with pytest.raises(ValueError, match=r"1of1\.json cannot be read .* prepare its shard again"):
        merge(tmp_path)


def test_a_shard_leaves_the_unfinished_files_of_others_alone(records, tmp_path):
    folder = tmp_path / "volumes" / "train"
    folder.mkdir(parents=True)
    own, other = folder / ".0a.safetensors.7.part", folder / ".1a.safetensors.7.part"
    own.write_bytes(b"")
    other.write_bytes(b"")
    run(records, tmp_path, "1/2")  # patients 0 and 2
    assert (own.exists(), other.exists()) == (False, True)
    run(records, tmp_path, "2/2")
    (tmp_path / ".manifest.csv.7.part").write_bytes(b"")  # of a merge that was killed
    merge(tmp_path)
    assert not list(tmp_path.rglob(".*.part"))
