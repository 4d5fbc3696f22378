"""What lies in a source and is not taken is refused by name, so that nobody has to miss it."""

import csv
import json
import shutil

import numpy as np
import pytest
from ct_rate_tree import Tree

from data_prep.acdc import prepare_acdc
from data_prep.cc_ccii import prepare_cc_ccii
from data_prep.covid19_20 import prepare_covid19_20
from data_prep.ct_rate import prepare_ct_rate
from data_prep.ct_rate_tables import parse_spacing
from data_prep.ctrg_chest import LABELS, LABELS_NAME, prepare_ctrg_chest
from data_prep.luna16 import prepare_luna16
from data_prep.msd import prepare_msd
from data_prep.phantom.layouts.__main__ import LAYOUTS
from data_prep.stoic2021 import prepare_stoic2021
from data_prep.tables import TableError, read_table
from mg3d.data.manifest import read_manifest
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

SMALL = RunOptions(settings=PrepareSettings(grid=Grid((4, 4, 4))), workers=0)
PICTURES = RunOptions(
    settings=PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit()), workers=0
)


@pytest.fixture
def source(tmp_path):
    """A function that writes a layout of made-up patients."""

    def make(layout, patients):
        LAYOUTS[layout](tmp_path / "raw", patients, 0)
        return tmp_path / "raw"

    return make


def refusals(done):
    return [(refusal.file, refusal.reason) for refusal in done.refused]


def append(path, *lines):
    path.write_text(path.read_text() + "".join(f"{line}\n" for line in lines))


def test_a_class_whose_folder_has_another_case_is_missed(source, tmp_path):
    root = source("cc_ccii", 12)
    (root / "Normal").rename(root / "normal")
    ((file, reason),) = refusals(prepare_cc_ccii(root, tmp_path / "out", PICTURES, num_folds=3))
    assert (file, "expected the name Normal" in reason) == ("normal", True)


def test_a_release_whose_folder_has_another_case_is_missed(tmp_path):
    tree = Tree(tmp_path / "raw")
    tree.full("train_1_a_1")
    tree.full("valid_1_a_1")
    (tree.root / "valid_fixed").rename(tree.root / "Valid_fixed")
    done = prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert [file for file, _ in refusals(done)] == ["Valid_fixed"]


def test_a_subset_with_a_blank_in_its_name_is_missed(source, tmp_path):
    root = source("luna16", 2)
    folder = min(root.glob("subset*"))
    folder.rename(root / folder.name.replace("subset", "Subset "))
    done = prepare_luna16(root, tmp_path / "out", SMALL)
    assert [file for file, _ in refusals(done)] == [folder.name.replace("subset", "Subset ")]


def test_slices_outside_a_scans_folder_are_missed(source, tmp_path):
    root = source("cc_ccii", 12)
    scan = next(path for path in sorted(root.glob("NCP/*/*")) if path.is_dir())
    for path in scan.iterdir():
        path.rename(scan.parent / path.name)
    scan.rmdir()
    ((file, reason),) = refusals(prepare_cc_ccii(root, tmp_path / "out", PICTURES, num_folds=3))
    assert file == scan.parent.relative_to(root).as_posix()
    assert "outside a scan's folder" in reason


def test_a_patients_folder_that_is_a_lost_link_is_missed(tmp_path):
    tree = Tree(tmp_path / "raw")
    for patient in (1, 2):
        tree.full(f"train_{patient}_a_1")
    folder = tree.root / "train_fixed/train_2"
    shutil.rmtree(folder)
    folder.symlink_to(tmp_path / "annex")
    done = prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert done.taken == 1
    ((file, reason),) = refusals(done)
    assert (file, "link that leads nowhere" in reason) == ("train_fixed/train_2", True)


def test_a_lost_link_in_place_of_a_volume_is_refused_once(tmp_path):
    tree = Tree(tmp_path / "raw")
    tree.full("train_1_a_1")
    path = tree.volume("train_2_a_1")
    tree.report("train_2_a_1")
    path.unlink()
    path.symlink_to(tmp_path / "annex")
    done = prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert [file for file, _ in refusals(done)] == [path.relative_to(tree.root).as_posix()]


def test_a_heart_without_its_card_is_missed_and_a_card_of_any_case_is_read(source, tmp_path):
    root = source("acdc", 5)
    first, second = sorted(root.glob("training/patient*/Info.cfg"))[:2]
    first.rename(first.with_name("info.cfg"))
    second.unlink()
    done = prepare_acdc(root, tmp_path / "out", SMALL, num_folds=2)
    ((file, reason),) = refusals(done)
    assert (file, "is missing" in reason) == (second.relative_to(root).as_posix(), True)
    assert first.parent.name in set(read_manifest(tmp_path / "out").rows["patient_id"])


def test_too_few_patients_for_the_folds_name_those_that_were_refused(source, tmp_path):
    root = source("acdc", 4)
    card = min(root.glob("training/patient*/Info.cfg"))
    card.write_text("ED: \u00b2\nES: 12\nGroup: NOR\n", encoding="utf-8")  # int("²") fails
    with pytest.raises(ValueError, match=r"9 folds of \d patients.*1 were refused.*Info\.cfg: ED"):
        prepare_acdc(root, tmp_path / "out", SMALL, num_folds=9)


def test_endings_in_capitals_are_read(source, tmp_path):
    root = source("stoic2021", 4)
    paths = sorted(root.glob("data/mha/*.mha"))
    paths[0].rename(paths[0].with_suffix(".MHA"))
    (root / "data/mha/more").mkdir()
    paths[1].rename(root / "data/mha/more" / paths[1].name)
    done = prepare_stoic2021(root, tmp_path / "out", SMALL, folds=2)
    assert done.taken == len(paths) - 1
    assert [file for file, _ in refusals(done)] == [f"data/mha/more/{paths[1].name}"]


def test_a_case_stored_twice_stops_nobody_else_and_masks_may_be_unpacked(source, tmp_path):
    root = source("covid19_20", 3)
    images = sorted(root.rglob("*_ct.nii.gz"))
    twin = images[0].with_name(images[0].name.removesuffix(".gz"))
    shutil.copy(images[0], twin)  # the content tells that it is packed
    masks = images[1].with_name(images[1].name.replace("_ct", "_seg"))
    masks.rename(masks.with_name(masks.name.removesuffix(".gz")))
    images[2].rename(images[2].with_name(images[2].name.replace(".nii.gz", ".NII.GZ")))
    done = prepare_covid19_20(root, tmp_path / "out", SMALL)
    ((file, reason),) = refusals(done)
    assert (done.taken, file) == (3, images[0].relative_to(root).as_posix())
    assert "the same case as" in reason


def test_points_outside_their_scan_are_left_out_and_counted(source, tmp_path, caplog):
    root = source("luna16", 1)
    with (root / "candidates.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    append(root / "candidates.csv", f"{rows[0]['seriesuid']},9000,0,0,0")
    prepare_luna16(root, tmp_path / "out", SMALL)
    facts = read_manifest(tmp_path / "out").facts
    assert (facts["candidates"], facts["candidates_outside_scan"]) == (len(rows) + 1, 1)
    with (tmp_path / "out/candidates.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    assert "1 points lie outside their scans" in caplog.text


def test_a_nodule_of_no_size_is_refused(source, tmp_path):
    root = source("luna16", 1)
    uid = next(root.rglob("*.mhd")).stem
    append(root / "annotations.csv", f"{uid},0,0,0,-3")
    with pytest.raises(TableError, match="diameter_mm -3 is not above 0"):
        prepare_luna16(root, tmp_path / "out", SMALL)


@pytest.mark.parametrize("where", ["description", "folds"])
def test_an_image_is_listed_with_its_own_label_and_one_fold(source, tmp_path, where):
    root = source("msd_lung", 2) / "Task06_Lung"
    about = json.loads((root / "dataset.json").read_text())
    one, two = about["training"]
    folds = tmp_path / "folds.json"
    listed = [{"fold": 0, **one}, {"fold": 1, **two}]
    if where == "description":
        about["training"] = [{**one, "label": two["label"]}, two]
        (root / "dataset.json").write_text(json.dumps(about))
    else:
        listed += [{"fold": 1, **one, "image": one["image"].replace(".nii", "_0000.nii")}]
    folds.write_text(json.dumps({"training": listed}))
    said = {"description": "another case's", "folds": "in different folds"}[where]
    with pytest.raises(TableError, match=said):
        prepare_msd(root, tmp_path / "out", SMALL, folds=folds)


def test_labels_whose_ids_fit_no_scan_are_missed_aloud(source, tmp_path, caplog):
    root = source("ctrg_chest", 2)
    cases = sorted(path.name.removesuffix(".nii.gz") for path in root.rglob("*.nii.gz"))
    lines = [",".join(("id", *LABELS))]
    lines += [",".join((end, *["1"] * len(LABELS))) for end in (f"{cases[0]}.NII.GZ", "0.0")]
    (root / LABELS_NAME).write_text("\n".join(lines) + "\n")
    prepare_ctrg_chest(root, tmp_path / "out", PICTURES)
    assert f"no row for {len(cases) - 1} of {len(cases)} scans" in caplog.text
    rows = read_manifest(tmp_path / "out").rows.set_index("patient_id")
    assert (rows.loc[cases[0], list(LABELS)] == 1).all()


@pytest.mark.parametrize("field", ["1,5", "[1,5]", "0,7"])
def test_a_spacing_with_a_decimal_comma_is_not_taken_for_two_numbers(field):
    with pytest.raises(ValueError, match="correct the row"):
        parse_spacing(field, "2")
    np.testing.assert_array_equal(parse_spacing("[1.5,5.0]", "2"), (5.0, 1.5, 2.0))
    np.testing.assert_array_equal(parse_spacing("[1, 5]", "2"), (5.0, 1.0, 2.0))


def test_blanks_around_column_names_and_a_spreadsheets_first_line_mean_nothing(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("sep=,\nname , value\na,1\n")
    (row,) = read_table(path, ("name", "value"))
    assert (row.line, row["name"], row["value"]) == (3, "a", "1")
    path.write_text("name\tvalue\na\t1\n")
    with pytest.raises(TableError, match="is its separator a tab"):
        read_table(path, ("name", "value"))
