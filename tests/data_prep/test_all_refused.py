"""Row 19: where one trouble is in every row, refused.csv is written and the reasons are shown."""

import csv
import io
import json

import numpy as np
import pytest
from ct_rate_tree import Tree

from data_prep import acdc, cc_ccii, covid19_20, ct_rate, ctrg_chest, merge, msd, stoic2021
from data_prep.ct_rate_tables import parse_spacing
from data_prep.phantom.layouts.challenges import write_cc_ccii, write_stoic2021
from data_prep.phantom.layouts.chest import write_covid19_20, write_msd_lung
from data_prep.phantom.layouts.ctrg import write_ctrg_chest_jpg
from data_prep.phantom.layouts.heart import write_acdc
from mg3d.data.manifest import read_manifest
from mg3d.data.prepared import read_facts
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.volumes.grid import Grid

SMALL = RunOptions(settings=PrepareSettings(grid=Grid((4, 4, 4))), workers=0)


def refused(folder):
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"]: row["reason"] for row in csv.DictReader(file)}


def test_row_19_spacings_as_numpy_prints_them_are_read(tmp_path):
    text = "[np.float64(0.7), np.float64(0.8)]"
    assert parse_spacing(text, "np.float32(1.5)") == (0.8, 0.7, 1.5)
    assert parse_spacing("[numpy.float64(0.7), 0.8]", "1.5") == (0.8, 0.7, 1.5)
    tree = Tree(tmp_path / "raw")
    tree.full("train_1_a_1", folder="train", offset=1024)
    tree.metadata("train_1_a_1.nii.gz", -1024, xy="[np.float64(2.5), np.float64(2.5)]", z=3)
    done = ct_rate.prepare_ct_rate(tree.root, tmp_path / "out", SMALL)
    assert (done.taken, done.refused) == (1, ())
    source = read_facts(tmp_path / "out/volumes/train/train_1_a_1.safetensors")["source_affine"]
    assert np.abs(np.diag(source))[:3].tolist() == [2.5, 2.5, 3.0]


def stoic(tmp_path):
    write_stoic2021(tmp_path / "raw", 3, 0)
    path = tmp_path / "raw/metadata/reference.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], *(line.replace(",", ".0,", 1) for line in lines[1:])]))
    return stoic2021, tmp_path / "raw", 6, "a spreadsheet has made it a decimal number"


def renamed_msd(tmp_path):
    write_msd_lung(tmp_path / "raw", 2, 0)
    root = tmp_path / "raw/Task06_Lung"
    about = json.loads((root / "dataset.json").read_text())
    for folder in ("imagesTr", "labelsTr"):
        for path in [*(root / folder).glob("lung*")]:
            path.rename(path.with_name(path.name.replace("lung_", "patient-")))
    for entry in about["training"]:
        entry |= {key: entry[key].replace("lung_", "patient-") for key in entry}
    (root / "dataset.json").write_text(json.dumps(about))
    return msd, root, 2, "expected a name like lung_001.nii.gz"


def renamed_covid(tmp_path):
    write_covid19_20(tmp_path / "raw", 2, 0)
    for path in [*(tmp_path / "raw/Train").glob("*.nii.gz")]:
        path.rename(path.with_name(path.name.replace("volume-covid19-A-", "case")))
    return covid19_20, tmp_path / "raw", 2, "expected a name like volume-covid19-A-0003_ct.nii.gz"


def without_reports(tmp_path):
    tree = Tree(tmp_path / "raw")
    for patient in (1, 2):
        tree.volume(f"train_{patient}_a_1")
        tree.report(f"train_{patient}_a_1", "Not given.", "Not given.")
    return ct_rate, tree.root, 2, "no report text: findings and impression are empty"


def without_text(tmp_path):
    write_ctrg_chest_jpg(tmp_path / "raw", 2, 0)
    path = next((tmp_path / "raw").glob("*.json"))
    records = [entry | {"report": None} for entry in json.loads(path.read_text())]
    path.write_text(json.dumps(records))
    return ctrg_chest, tmp_path / "raw", 2, "report is null"


def other_cards(tmp_path):
    write_acdc(tmp_path / "raw", 2, 0, cine=False)
    for path in (tmp_path / "raw").rglob("Info.cfg"):
        path.write_text(path.read_text().replace("ED: ", "ED: frame "))
    return acdc, tmp_path / "raw", 2, "expected the number of a frame"


def other_counts(tmp_path):
    write_cc_ccii(tmp_path / "raw", 3, 0)
    for path in (tmp_path / "raw/folds").glob("*.csv"):
        rows = list(csv.DictReader(path.read_text().splitlines()))
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0] if rows else [])
        writer.writeheader()
        writer.writerows(row | {"n_slice": 99} for row in rows)
        path.write_text(text.getvalue())
    return cc_ccii, tmp_path / "raw", 5, "slices, but the fold table says 99"


TROUBLES = (stoic, renamed_msd, renamed_covid, without_reports, without_text, other_cards,
            other_counts)  # fmt: skip


@pytest.mark.parametrize("make", TROUBLES, ids=lambda make: make.__name__)
def test_row_19_where_everything_was_refused_the_reasons_are_kept(make, tmp_path, capsys):
    importer, source, count, reason = make(tmp_path)
    out = tmp_path / "out"
    call = ["--source", str(source), "--output", str(out), "--workers", "0"]
    own = ["--folds", str(source / "folds")] if importer is cc_ccii else []
    assert importer.main([*call, *own]) == 3
    printed = capsys.readouterr().out
    reasons = {f: r for f, r in refused(out).items() if not r.startswith("left out by rule")}
    assert len(reasons) == count
    assert sum(reason in text for text in reasons.values()) >= count / 2
    assert reason in printed and f"{count} refused, listed in refused.csv" in printed
    assert "0 volumes (0 of them made before)" in printed
    facts = json.loads((out / "dataset.json").read_text())
    assert facts["counts"]["refused"] == count and facts["counts"]["volumes"] == 0
    with pytest.raises(ValueError, match=r"has no rows; see refused\.csv"):
        read_manifest(out)


def test_row_19_shards_of_which_everything_was_refused_are_merged_with_their_reasons(tmp_path):
    importer, source, count, reason = renamed_msd(tmp_path)
    out = tmp_path / "out"
    call = ["--source", str(source), "--output", str(out), "--workers", "0"]
    for shard in ("1/2", "2/2"):
        importer.main([*call, "--shard", shard])
    assert merge.main(["--output", str(out)]) == 3
    assert [reason in text for text in refused(out).values()] == [True] * count


def test_row_19_reasons_are_grouped_by_kind_with_a_count(tmp_path, capsys):
    importer, source, count, _ = renamed_covid(tmp_path)
    (source / "Train" / "volume-covid19-A-0003_ct.nii.gz").write_bytes(b"")
    call = ["--source", str(source), "--output", str(tmp_path / "out"), "--workers", "0"]
    assert importer.main(call) == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert lines[0].startswith(f"  {count} x, first Train/case")
    assert lines[1].startswith("  1 x, first Train/volume-covid19-A-0003_ct.nii.gz: its mask")


def test_row_19_a_folder_with_nothing_of_the_kind_is_a_wrong_call(tmp_path, capsys):
    (tmp_path / "raw").mkdir()
    call = ["--source", str(tmp_path / "raw"), "--output", str(tmp_path / "out")]
    assert covid19_20.main(call) == 2
    assert "nothing to prepare in" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_row_19_where_all_is_left_out_by_rule_it_is_said_and_listed(tmp_path, capsys):
    write_covid19_20(tmp_path / "raw", 1, 0)
    call = ["--source", str(tmp_path / "raw/Validation"), "--output", str(tmp_path / "out")]
    assert covid19_20.main(call) == 2
    assert "1 files were left out by rule, listed in refused.csv" in capsys.readouterr().err
    assert list(refused(tmp_path / "out").values()) == [
        "left out by rule: no mask is published for this part of the challenge"
    ]
