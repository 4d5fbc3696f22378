import csv
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import read_manifest, read_voxels
from mg3d.data.masks import MaskMeaning, read_masks
from mg3d.data.prepared import read_facts
from mg3d.preparation.parallel import WorkerDied
from mg3d.preparation.prepare import (
    DatasetDescription,
    PrepareSettings,
    Refusal,
    RunOptions,
    ScanRecord,
    prepare,
)
from mg3d.volumes.grid import Grid
from mg3d.volumes.volume import write_nifti

SETTINGS = PrepareSettings(grid=Grid((8, 8, 8), (4.0, 4.0, 4.0)))
AFFINE = np.diag([-2.0, -2.0, 2.0, 1.0])
FINDINGS = {"labels": CT_RATE_FINDINGS, "masks": MaskMeaning("bits", CT_RATE_FINDINGS)}


def chest(seed):
    rng = np.random.default_rng(seed)
    hu = np.full((24, 22, 20), -1000) + rng.integers(-20, 20, (24, 22, 20))
    hu[4:20, 4:18] = 40 + rng.integers(-20, 20, (16, 14, 20))
    return hu.astype(np.int16)


def record(raw, number, split="train", masks=True, **changed):
    name = f"{split}_{number}_a_1"
    path = raw / f"{name}.nii.gz"
    write_nifti(path, chest(number), AFFINE)
    mask_path = raw / "masks" / f"{name}.nii.gz"
    if masks:
        bits = np.zeros((24, 22, 20), np.int32)
        bits[8:16, 6:14, 4:12] = 1 << number
        write_nifti(mask_path, bits, AFFINE)
    values = ScanRecord(
        volume_id=name,
        patient_id=f"{split}_{number}",
        scan_id=f"{split}_{number}_a",
        reconstruction=1,
        split=split,
        volume=path,
        findings="Heart size is normal.",
        impression="",
        labels={name: int(k == number) for k, name in enumerate(CT_RATE_FINDINGS)},
        masks=mask_path if masks else None,
    )
    return replace(values, **changed)


@pytest.fixture
def raw(tmp_path):
    return tmp_path / "raw"


@pytest.fixture
def records(raw):
    return [record(raw, 1), record(raw, 2), record(raw, 3, "val", masks=False)]


def run(records, output, raw, settings=SETTINGS, *, workers=0, **described):
    dataset = DatasetDescription(**{"source": "test", "root": raw, **FINDINGS} | described)
    return prepare(records, output, dataset, RunOptions(settings=settings, workers=workers))


def files_of(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.*")}


def table(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_folder_as_the_rest_of_the_toolkit_reads_it(records, raw, tmp_path):
    done = run(records, tmp_path / "out", raw)
    assert (done.taken, done.kept, done.exit_status) == (3, 0, 0)
    manifest = read_manifest(done.folder)
    assert manifest.rows["split"].tolist() == ["train", "train", "val"]
    assert manifest.rows[CT_RATE_FINDINGS[1]].tolist() == [1, 0, 0]
    voxels = read_voxels(done.folder / manifest.rows["volume"][0])
    assert voxels.shape == (8, 8, 8)
    assert voxels[4, 4, 4] == pytest.approx(0.52, abs=0.01)  # 40 HU
    masks = read_masks(done.folder / manifest.rows["masks"][0])
    assert set(masks.unique().tolist()) == {0, 2}
    assert manifest.rows["masks"][2] == ""
    facts = manifest.facts
    assert facts["counts"]["patients_of_split"] == {"train": 2, "val": 1}
    assert facts["counts"]["positive"][CT_RATE_FINDINGS[2]] == 1
    assert facts["counts"]["with_masks"] == 2
    assert facts["rescale"] == {"as stored": 3}
    assert facts["settings"]["hu_window"] == [-1000, 1000]
    assert table(done.folder / "refused.csv") == []


def test_the_history_of_a_volume_is_in_its_file(records, raw, tmp_path):
    facts = read_facts(run(records, tmp_path, raw).folder / "volumes/train/train_1_a_1.safetensors")
    assert facts["source_file"] == "train_1_a_1.nii.gz"
    assert facts["source_shape"] == [24, 22, 20]
    assert facts["source_axes"] == "LPS"
    assert facts["rescale"]["reason"] == "the stored values are HU"
    np.testing.assert_allclose(facts["source_affine"], AFFINE)


def test_half_precision_keeps_more_than_uint8(records, raw, tmp_path):
    run(records, tmp_path / "a", raw, replace(SETTINGS, dtype="float16"))
    run(records, tmp_path / "b", raw)
    fine, coarse = (
        read_voxels(tmp_path / name / "volumes/train/train_1_a_1.safetensors") for name in "ab"
    )
    assert 0 < (fine - coarse).abs().max() <= 0.5 / 255 + 1e-3


def test_one_bad_file_never_stops_the_others(records, raw, tmp_path):
    (raw / "train_1_a_1.nii.gz").write_bytes(b"<html>")
    done = run(records, tmp_path / "out", raw)
    assert (done.taken, done.exit_status) == (2, 3)
    (refused,) = table(done.folder / "refused.csv")
    assert refused["file"] == "train_1_a_1.nii.gz"
    assert refused["reason"].startswith("not a NIfTI file (looks like HTML)")
    assert read_manifest(done.folder).rows["volume_id"].tolist() == ["train_2_a_1", "val_3_a_1"]
    assert "1 refused, listed in refused.csv; first train_1_a_1.nii.gz" in str(done)


def test_what_is_left_out_by_rule_is_listed_but_no_failure(records, raw, tmp_path):
    left = [Refusal("a.nii.gz", "no chest", by_rule=True)]
    done = run(records, tmp_path / "out", raw, refused=left)
    assert done.exit_status == 0
    (row,) = table(done.folder / "refused.csv")
    assert row == {"file": "a.nii.gz", "reason": "left out by rule: no chest"}


def test_warnings_are_counted_by_kind_and_listed_by_file(records, raw, tmp_path):
    for number in (1, 2):
        shape = (24, 22, 3 + number)
        write_nifti(raw / f"train_{number}_a_1.nii.gz", chest(number)[:, :, : shape[2]], AFFINE)
    records = [replace(r, masks=None) for r in records]
    done = run(records, tmp_path / "out", raw)
    assert read_manifest(done.folder).facts["warnings"] == {"only # slices along one axis": 2}
    assert table(done.folder / "warnings.csv")[1]["reason"] == "only 5 slices along one axis"


def test_any_number_of_workers_gives_the_same_bytes(records, raw, tmp_path):
    run(records, tmp_path / "none", raw)
    run(records, tmp_path / "two", raw, workers=2)
    assert files_of(tmp_path / "none") == files_of(tmp_path / "two")


def test_a_restart_makes_only_what_is_missing_and_ends_in_the_same_bytes(records, raw, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(records, whole, raw)
    run(records[:2], cut, raw)
    (cut / "volumes/train/train_2_a_1.safetensors").unlink()
    (cut / "dataset.json").unlink()
    kept = cut / "volumes/train/train_1_a_1.safetensors"
    before = kept.stat().st_mtime_ns
    done = run(records, cut, raw)
    assert (done.taken, done.kept) == (3, 1)
    assert kept.stat().st_mtime_ns == before
    assert files_of(cut) == files_of(whole)


def test_what_a_killed_run_left_half_written_is_removed(records, raw, tmp_path):
    run(records, tmp_path / "whole", raw)
    half = tmp_path / "cut" / "volumes" / "train" / ".train_1_a_1.safetensors.123.part"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"half")
    run(records, tmp_path / "cut", raw)
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


@pytest.mark.parametrize("file", ["volumes/train/train_1_a_1", "masks/train/train_1_a_1"])
def test_a_damaged_output_is_made_again(file, records, raw, tmp_path):
    run(records, tmp_path / "whole", raw)
    run(records, tmp_path / "cut", raw)
    path = tmp_path / "cut" / f"{file}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert run(records, tmp_path / "cut", raw).kept == 2
    assert files_of(tmp_path / "cut") == files_of(tmp_path / "whole")


@pytest.mark.parametrize(
    "changed",
    [
        {"hu_window": (-1000.0, 400.0)},
        {"dtype": "float16"},
        {"grid": Grid((8, 8, 8), (3.0, 3.0, 3.0))},
    ],
)
def test_other_settings_make_everything_again(changed, records, raw, tmp_path):
    settings = replace(SETTINGS, **changed)
    run(records, tmp_path / "out", raw)
    assert run(records, tmp_path / "out", raw, settings).kept == 0
    run(records, tmp_path / "fresh", raw, settings)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_a_changed_source_is_read_again(records, raw, tmp_path):
    run(records, tmp_path / "out", raw)
    write_nifti(raw / "train_1_a_1.nii.gz", chest(9), AFFINE)
    later = Path(tmp_path / "out/volumes/train/train_1_a_1.safetensors").stat().st_mtime_ns + 10**9
    os.utime(raw / "train_1_a_1.nii.gz", ns=(later, later))
    assert run(records, tmp_path / "out", raw).kept == 2


def test_other_settings_first_take_the_old_table_away(records, raw, tmp_path, monkeypatch):
    run(records, tmp_path, raw)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mg3d.preparation.prepare.work_in_parallel", stop)
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path, raw)
    assert (tmp_path / "manifest.csv").exists()
    with pytest.raises(KeyboardInterrupt):
        run(records, tmp_path, raw, replace(SETTINGS, dtype="float16"))
    assert not (tmp_path / "manifest.csv").exists()


def test_a_killed_process_is_a_refusal(records, raw, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "mg3d.preparation.prepare.work_in_parallel", lambda *_, **__: [WorkerDied()] * len(records)
    )
    done = run(records, tmp_path, raw)
    assert [r.reason for r in done.refused] == [
        "the process that read it was killed (out of memory?)"
    ] * 3


def mask_of(shape=(24, 22, 20), dtype=np.int32, value=1, affine=AFFINE):
    return np.full(shape, value, dtype), affine


@pytest.mark.parametrize(
    ("masks", "reason"),
    [
        (mask_of((24, 22, 19)), r"shape \(24, 22, 19\), but its image train_1_a_1.nii.gz has"),
        (mask_of(dtype=np.float32, value=0.5), "must be whole numbers"),
        (mask_of(value=1 << 18), "bits beyond the 18 findings are set"),
        (mask_of(affine=AFFINE + 40 * np.eye(4, k=3)), "40.0 mm off its image"),
    ],
)
def test_masks_that_do_not_fit_their_volume_are_refused(masks, reason, records, raw, tmp_path):
    write_nifti(raw / "masks" / "train_1_a_1.nii.gz", *masks)
    (refused,) = run(records, tmp_path / "out", raw).refused
    assert refused.file == "train_1_a_1.nii.gz"
    with pytest.raises(ValueError, match=reason):
        raise ValueError(refused.reason)


def test_two_volumes_of_one_name_are_the_importers_mistake(records, raw, tmp_path):
    with pytest.raises(ValueError, match="1 volume ids occur twice, first train_1_a_1"):
        run([*records, records[0]], tmp_path, raw)


def test_nothing_to_prepare_is_refused(raw, tmp_path):
    with pytest.raises(ValueError, match=r"nothing to prepare in .*raw"):
        run([], tmp_path, raw)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"hu_window": (1000.0, -1000.0)}, "low < high"),
        ({"dtype": "int8"}, "uint8, float16; got 'int8'"),
        ({"mask_share": 0.0}, "above 0"),
    ],
)
def test_impossible_settings_are_refused(changed, reason):
    with pytest.raises(ValueError, match=reason):
        replace(SETTINGS, **changed)


def test_dataset_json_names_no_folder_of_this_machine(records, raw, tmp_path):
    run(records, tmp_path / "out", raw)
    for content in files_of(tmp_path / "out").values():
        assert str(tmp_path).encode() not in content
    assert json.loads((tmp_path / "out/dataset.json").read_text())["source"] == "test"


def test_dataset_json_counts_what_the_preset_cannot_read_of_the_reports_row_r4(
    records, raw, tmp_path
):
    long = replace(records[0], findings="No node. " * 100, impression="Mass.")
    twin = replace(record(raw, 1, reconstruction=2), volume_id="train_1_a_2", findings="No node.")
    dataset = DatasetDescription(source="test", root=raw, **FINDINGS)
    counts = {}
    for preset in ("tiny", "paper"):
        options = RunOptions(settings=SETTINGS, workers=0, read_by=preset)
        made = prepare([twin, long, *records[1:]], tmp_path / preset, dataset, options)
        counts[preset] = json.loads((tmp_path / preset / "dataset.json").read_text())["reports"]
        assert str(made.reports) in str(made)
    assert counts["tiny"] == {
        "tokenizer": "embedded",
        "max_tokens": 192,
        "report_cut": "end",
        "reports": 3,  # two reconstructions share one
        "reports_cut": 1,
        "sentences": 103,
        "sentences_lost": 101 - 64,  # of three tokens each: 63 whole, the next in part
        "impressions": 1,
        "impressions_cut": 1,
        "impressions_lost": 1,
    }
    assert counts["paper"]["max_tokens"] == 250
    assert counts["paper"]["sentences_lost"] == 101 - 83


def test_a_data_set_without_reports_counts_none(records, raw, tmp_path):
    silent = [replace(r, findings="", impression="") for r in records]
    assert run(silent, tmp_path / "out", raw).reports is None
    assert "reports" not in json.loads((tmp_path / "out/dataset.json").read_text())


def test_what_no_table_can_hold_of_a_text_or_a_name_stops_nothing_row_17f(records, raw, tmp_path):
    odd = replace(records[0], findings="No node.\rNo mass.\ud800 End.", impression="a\0b\r\nc\x1a")
    refused = [Refusal("scan\udce9.nii.gz", "its name has bytes that are no UTF-8")]
    done = run([odd, *records[1:]], tmp_path / "out", raw, refused=refused)
    assert done.exit_status == 3 and done.taken == 3
    rows = read_manifest(tmp_path / "out").rows
    assert rows["findings"][0] == "No node.\nNo mass.\ufffd End."
    assert rows["impression"][0] == "a\0b\r\nc\x1a"
    assert rows["volume_id"].tolist() == [record.volume_id for record in records]
    assert "scan\ufffd.nii.gz" in (tmp_path / "out/refused.csv").read_text("utf-8")
