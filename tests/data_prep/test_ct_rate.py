import csv
import shutil
import subprocess
import sys

import numpy as np
import pytest
from ct_rate_tree import METADATA, Tree, chest
from dicom_series import series, write_series

from data_prep.ct_rate import main, prepare_ct_rate
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import read_manifest, read_voxels
from mg3d.preparation.options import RunOptions


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "dataset")


def prepared(tree, tmp_path, *, settings=None, **how):
    options = RunOptions(workers=0, settings=settings)
    return prepare_ct_rate(tree.root, tmp_path / "out", options, **how)


def refused(folder):
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"].split("/")[-1]: row["reason"] for row in csv.DictReader(file)}


def ids(folder):
    return read_manifest(folder).rows["volume_id"].tolist()


def test_the_official_layout_with_its_mixed_words(tree, tmp_path):
    tree.full("train_1_a_1")
    tree.full("valid_1_a_1")
    tree.labels("train_1_a_1.nii.gz", ",".join(["1"] + ["0"] * 17))
    tree.labels("valid_1_a_1.nii.gz", ",".join(["0"] * 17 + ["1.0"]), "valid")
    done = prepared(tree, tmp_path)
    rows = read_manifest(done.folder).rows
    assert rows["volume_id"].tolist() == ["train_1_a_1", "valid_1_a_1"]
    assert rows["patient_id"].tolist() == ["train_1", "valid_1"]
    assert rows["scan_id"].tolist() == ["train_1_a", "valid_1_a"]
    assert rows["split"].tolist() == ["train", "val"]
    assert rows["Medical material"].tolist() == [1, 0]
    assert rows["Interlobular septal thickening"].tolist() == [0, 1]
    assert rows["findings"].tolist() == ["Heart is normal."] * 2
    assert rows["impression"].tolist() == [""] * 2
    assert done.exit_status == 0


def test_the_parent_of_the_dataset_folder_will_do(tree, tmp_path):
    tree.full("train_1_a_1")
    assert prepare_ct_rate(tree.root.parent, tmp_path / "out", RunOptions(workers=0)).taken == 1


@pytest.mark.parametrize("offset", [1024, 8192])
def test_both_releases_of_a_scan_give_equal_voxels(offset, tree, tmp_path):
    tree.volume("train_1_a_1", folder="train", offset=offset)
    tree.volume("train_1_a_1")
    tree.report("train_1_a_1.nii.gz")
    tree.metadata("train_1_a_1.nii.gz", -offset)
    voxels = {}
    for release in ("first", "corrected"):
        done = prepare_ct_rate(
            tree.root, tmp_path / release, RunOptions(workers=0), release=release
        )
        assert read_manifest(done.folder).facts["warnings"] == {}
        voxels[release] = read_voxels(done.folder / "volumes/train/train_1_a_1.safetensors")
    assert (voxels["first"] == voxels["corrected"]).all()
    assert len(voxels["first"].unique()) > 10
    both = prepared(tree, tmp_path)
    assert read_manifest(both.folder).facts["release"] == {"corrected": 1}
    assert refused(both.folder) == {
        "train_1_a_1.nii.gz": "left out by rule: the corrected release of this volume is taken"
    }


def test_spacing_of_the_first_release_comes_from_the_metadata(tree, tmp_path):
    tree.full("train_1_a_1", folder="train", offset=1024)
    tree.metadata("train_1_a_1", -1024, "[1.0, 2.0]", "3")
    facts = read_manifest(prepared(tree, tmp_path).folder).facts
    assert list(facts["warnings"]) == [
        "the header says # x # x # mm, the metadata # x # x # mm, which was taken"
    ]


def test_a_first_release_without_metadata_is_refused_not_guessed(tree, tmp_path):
    tree.full("train_1_a_1", folder="train", offset=1024)
    tree.full("train_2_a_1")
    done = prepared(tree, tmp_path)
    assert done.exit_status == 3
    assert "give the metadata table" in refused(done.folder)["train_1_a_1.nii.gz"]


def test_a_bad_metadata_row_is_named_by_its_line(tree, tmp_path):
    tree.full("train_1_a_1", folder="train", offset=1024)
    tree.full("train_2_a_1")
    tree.metadata("train_2_a_1", -1024)
    tree.metadata("train_1_a_1", -1024, "[0, 0]")
    reason = refused(prepared(tree, tmp_path).folder)["train_1_a_1.nii.gz"]
    assert reason.startswith("metadata, line 3: XYSpacing '[0, 0]'")


def test_volumes_that_are_no_chest_are_left_out_by_rule(tree, tmp_path):
    for number in (1, 2, 3):
        tree.full(f"train_{number}_a_1")
    path = tree.root / "metadata" / "no_chest_train.txt"
    path.parent.mkdir()
    path.write_text("train_1/train_1_a/train_1_a_1.nii.gz\r\ntrain_3_a_1\n")
    done = prepared(tree, tmp_path)
    assert ids(done.folder) == ["train_2_a_1"]
    assert done.exit_status == 0
    assert set(refused(done.folder).values()) == {
        "left out by rule: no chest CT, by the data set's no_chest list"
    }


def test_names_without_extension_and_tables_saved_by_a_spreadsheet(tree, tmp_path):
    tree.full("train_1_a_1")
    tree.labels("train_1_a_1", ",".join("1" * 18))
    for path in tree.root.rglob("*.csv"):
        content = path.read_text().replace(".nii.gz", "").replace("\n", "\r\n")
        path.write_text("\ufeff" + content, encoding="utf-8", newline="")
    rows = read_manifest(prepared(tree, tmp_path).folder).rows
    assert rows[list(CT_RATE_FINDINGS)].to_numpy().sum() == 18


def test_every_volume_without_a_usable_report_is_named(tree, tmp_path):
    for number in range(1, 6):
        tree.volume(f"train_{number}_a_1")
    tree.report("train_1_a_1.nii.gz")
    tree.report("train_1_a_1.nii.gz")  # equal: counts once
    tree.report("train_2_a_1.nii.gz", " ", "Not given.")
    tree.report("train_3_a_1.nii.gz")
    tree.report("train_3_a_1.nii.gz", "Heart is large.")
    tree.report("train_5_a_1.nii.gz", "nan", "Normal chest.")
    tree.report("train_9_a_1.nii.gz")  # not downloaded
    tree.report("chest7.nii.gz")
    done = prepared(tree, tmp_path)
    rows = read_manifest(done.folder)
    assert rows.rows["volume_id"].tolist() == ["train_1_a_1", "train_5_a_1"]
    assert rows.rows["findings"].tolist() == ["Heart is normal.", ""]
    reasons = refused(done.folder)
    assert "findings and impression are empty" in reasons["train_2_a_1.nii.gz"]
    assert "lines 5 and 6; keep the right one" in reasons["train_3_a_1.nii.gz"]
    assert "no row with its name" in reasons["train_4_a_1.nii.gz"]
    assert "VolumeName 'chest7.nii.gz'" in reasons["train_reports.csv:9"]
    assert rows.facts["reports_without_volume"] == {"count": 1, "first": ["train_9_a_1"]}


def test_labels_that_are_missing_are_unknown_and_never_shifted(tree, tmp_path):
    tree.full("train_1_a_1")
    tree.full("train_2_a_1")
    tree.labels("train_2_a_1.nii.gz", ",".join(["1", ""] + ["0"] * 16))
    manifest = read_manifest(prepared(tree, tmp_path).folder)
    labels = manifest.rows[list(CT_RATE_FINDINGS)].to_numpy()
    assert np.isnan(labels[0]).all()
    assert labels[1, 0] == 1
    assert np.isnan(labels[1, 1])
    assert manifest.facts["counts"]["unknown_labels"] == 19


def test_a_label_that_is_neither_0_nor_1_is_named(tree, tmp_path):
    tree.full("train_1_a_1")
    tree.labels("train_1_a_1.nii.gz", ",".join(["2"] + ["0"] * 17))
    with pytest.raises(ValueError, match="line 2, column Medical material: '2'"):
        prepared(tree, tmp_path)


def test_as_many_reconstructions_as_asked_for(tree, tmp_path):
    for name in ("train_1_a_2", "train_1_a_10", "train_1_b_3", "train_2_a_1"):
        tree.full(name)
    assert ids(prepared(tree, tmp_path).folder) == [
        "train_1_a_2", "train_1_a_10", "train_1_b_3", "train_2_a_1",
    ]  # fmt: skip
    done = prepared(tree, tmp_path, max_reconstructions=1)
    assert ids(done.folder) == ["train_1_a_2", "train_1_b_3", "train_2_a_1"]
    assert "more than 1 reconstruction(s)" in refused(done.folder)["train_1_a_10.nii.gz"]
    assert done.exit_status == 0


def test_validation_patients_are_held_out_of_train_and_the_official_ones_become_test(
    tree, tmp_path
):
    for number in range(1, 31):
        tree.full(f"train_{number}_a_1")
        tree.full(f"train_{number}_b_1")
    tree.full("valid_1_a_1")
    done = prepared(tree, tmp_path, split="train-val:0.2:3")
    manifest = read_manifest(done.folder)
    split_of = manifest.rows.groupby("patient_id")["split"].agg(set)
    assert all(len(splits) == 1 for splits in split_of)
    held_out = set(split_of.index[split_of == {"val"}])
    assert 2 <= len(held_out) <= 12
    assert split_of["valid_1"] == {"test"}
    assert manifest.facts["split"] == "train-val:0.2:3"
    some = Tree(tmp_path / "some")
    for number in range(1, 11):
        some.full(f"train_{number}_a_1")
    rows = read_manifest(prepared(some, tmp_path / "some", split="train-val:0.2:3").folder).rows
    first = {f"train_{number}" for number in range(1, 11)}
    assert set(rows["patient_id"][rows["split"] == "val"]) == held_out & first


@pytest.mark.parametrize("split", ["random", "train-val", "train-val:1", "train-val:0.1:x", ""])
def test_a_split_that_is_none_is_refused(split, tree, tmp_path):
    tree.full("train_1_a_1")
    with pytest.raises(ValueError, match=r"official or train-val:FRACTION\[:SEED\]"):
        prepared(tree, tmp_path, split=split)


def test_what_the_metadata_say_of_a_scan_is_kept_beside_the_manifest(tree, tmp_path):
    header = METADATA + ",PatientSex,PatientAge,ConvolutionKernel,StudyDate,NumberofSlices"
    rows = {
        "train_1_a_1": ('1,-1024,"[0.7, 0.8]",1.5', "F,036Y,B30f,20180326,20"),
        "train_2_a_1": ('1,0,"[0, 0]",1.5', "M,018M,,20180326,"),
        "train_3_a_1": ("1,0,0.7,1.5", ",36,,,"),
    }
    for name, (spacing, person) in rows.items():
        tree.full(name)
        tree.line("metadata/train_metadata.csv", header, f"{name}.nii.gz,{spacing},{person}")
    tree.full("train_4_a_1")
    done = prepared(tree, tmp_path)
    with (done.folder / "scans.csv").open(newline="", encoding="utf-8") as file:
        scans = list(csv.DictReader(file))
    assert [scan["volume_id"] for scan in scans] == [*rows, "train_4_a_1"]
    assert [scan["age_years"] for scan in scans] == ["36.0", "1.5", "36.0", ""]
    assert [scan["sex"] for scan in scans] == ["F", "M", "", ""]
    assert [scan["x_spacing_mm"] for scan in scans] == ["0.8", "", "0.7", ""]
    assert scans[0]["kernel"] == "B30f"
    assert scans[0]["slices"] == "20"
    assert not any("2018" in value for scan in scans for value in scan.values())
    facts = read_manifest(done.folder).facts
    assert facts["metadata_not_understood"] == {"XYSpacing, ZSpacing": 1}
    assert done.exit_status == 0


def test_a_folder_of_dicom_slices_stands_for_a_volume(tree, tmp_path):
    folder = tree.root / "train" / "train_1" / "train_1_a" / "train_1_a_1"
    slices = series(chest(0), step=(0, 0, 2.0), origin=(0, 0, 0), PixelSpacing=[2.0, 2.0])
    write_series(folder, slices)
    tree.volume("train_2_a_1", seed=0)
    for number in (1, 2):
        tree.report(f"train_{number}_a_1.nii.gz")
        tree.metadata(f"train_{number}_a_1.nii.gz", -8192, "[9, 9]")
    done = prepared(tree, tmp_path)
    assert done.exit_status == 0, done
    one, two = (
        read_voxels(done.folder / f"volumes/train/train_{number}_a_1.safetensors")
        for number in (1, 2)
    )
    assert (one == two).all()
    assert len(one.unique()) > 10


def test_lines_of_the_no_chest_list_that_name_nothing_are_listed(tree, tmp_path):
    tree.full("train_1_a_1")
    path = tree.root / "metadata" / "no_chest_train.txt"
    path.parent.mkdir()
    path.write_text("train_7_a_1.nii.gz\n\nbrain 3\n")
    done = prepared(tree, tmp_path)
    assert "'brain 3', expected a name like" in refused(done.folder)["no_chest_train.txt:3"]


def test_files_that_are_not_named_like_volumes_are_refused(tree, tmp_path):
    path = tree.full("train_1_a_1") or tree.volume("train_1_a_1")
    for name in ("train_01_a_1.nii.gz", "valid_2_a_1.nii.gz", "scan.nii"):
        shutil.copy(path, path.with_name(name))
    (path.parent / ".hidden.nii.gz").write_bytes(b"")
    (path.parent / "notes.txt").write_bytes(b"")
    reasons = refused(prepared(tree, tmp_path).folder)
    assert set(reasons) == {"train_01_a_1.nii.gz", "valid_2_a_1.nii.gz", "scan.nii"}
    assert all("expected a name like train_1_a_1.nii.gz" in r for r in reasons.values())


def test_a_folder_without_volumes_and_wrong_choices_are_refused(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="none of the folders train_fixed, valid_fixed"):
        prepare_ct_rate(tmp_path, tmp_path / "out")
    tree.volume("train_1_a_1")
    with pytest.raises(FileNotFoundError, match=r"train_reports\.csv is missing"):
        prepared(tree, tmp_path)
    with pytest.raises(ValueError, match="auto, corrected or first; got 'v2'"):
        prepared(tree, tmp_path, release="v2")
    with pytest.raises(ValueError, match="1 or more"):
        prepared(tree, tmp_path, max_reconstructions=0)


def test_exit_status_and_messages_of_the_command(tree, tmp_path, capsys):
    tree.full("train_1_a_1")
    call = ["--source", str(tree.root), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main(call) == 0
    assert "1 volumes (0 of them made before)" in capsys.readouterr().out
    (tree.volume("train_2_a_1")).write_bytes(b"")
    tree.report("train_2_a_1.nii.gz")
    assert main(call) == 3
    assert "first train_fixed/train_2/train_2_a/train_2_a_1.nii.gz: empty file" in (
        capsys.readouterr().out
    )
    assert main([*call, "--source", str(tmp_path / "absent")]) == 2
    assert "error: " in capsys.readouterr().err
    assert main([*call, "--hu-window", "1", "1"]) == 2
    for wrong in (["--max-reconstructions", "no"], ["--preset", "huge"], ["--shape", "1"]):
        with pytest.raises(SystemExit) as stop:
            main([*call, *wrong])
        assert stop.value.code == 2


def test_shape_and_spacing_of_the_command(tree, tmp_path):
    tree.full("train_1_a_1")
    call = ["--source", str(tree.root), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert main([*call, "--shape", "8", "6", "4", "--spacing", "5", "6", "7"]) == 0
    voxels = read_voxels(tmp_path / "out/volumes/train/train_1_a_1.safetensors")
    assert voxels.shape == (8, 6, 4)
    assert main([*call, "--shape", "8", "6", "4"]) == 0
    settings = read_manifest(tmp_path / "out").facts["settings"]
    assert settings["grid"]["spacing_mm"] is None


def test_the_real_tree_is_taken_by_the_command_as_a_user_calls_it(
    shared_data, tmp_path, repository
):
    source = shared_data / "layouts" / "ctrate" / "dataset"
    call = [sys.executable, "-m", "data_prep.ct_rate", "--source", source, "--output", tmp_path]
    done = subprocess.run(call, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("4 volumes need about")
    assert len(done.stderr.splitlines()) == 1
    assert ids(tmp_path) == [
        "train_90001_a_1",
        "train_90001_a_2",
        "train_90002_a_1",
        "valid_90001_a_1",
    ]
    assert set(refused(tmp_path)) == {"train_90001_a_2.nii.gz", "valid_90002_a_1.nii.gz"}
    manifest = read_manifest(tmp_path)
    assert manifest.facts["rescale"] == {"as stored": 4}
    assert manifest.facts["warnings"] == {}
    assert (manifest.rows["findings"] != "").all()
    for file in manifest.rows["volume"]:
        voxels = read_voxels(tmp_path / file)
        assert voxels.shape == (48, 32, 48)
        assert 0.3 < float((voxels < 0.25).float().mean()) < 0.999  # air, lung
        assert float(((voxels > 0.4) & (voxels < 0.65)).float().mean()) > 0.002  # soft tissue


def test_the_first_release_of_the_real_tree_alone_gives_equal_voxels(shared_data, tmp_path):
    source, first = shared_data / "layouts" / "ctrate" / "dataset", tmp_path / "first"
    for folder in ("train", "radiology_text_reports", "metadata"):
        shutil.copytree(source / folder, first / folder)
    for name, root in (("a", source), ("b", first)):
        prepare_ct_rate(root, tmp_path / name, RunOptions(workers=0))
    file = "volumes/train/train_90001_a_2.safetensors"
    assert ids(tmp_path / "b") == ["train_90001_a_2"]
    assert read_manifest(tmp_path / "b").facts["rescale"] == {"metadata": 1}
    assert (read_voxels(tmp_path / "a" / file) == read_voxels(tmp_path / "b" / file)).all()
