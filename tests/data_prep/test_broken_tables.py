"""Every row of the broken tables' list, one test each, through the importers that read them.

The same classes of defect are made by test_tables.py, test_ct_rate.py and test_ctrg_chest.py.
"""

import csv
import re
import shutil
import time

import numpy as np
import pytest
from ct_rate_tree import Tree

from data_prep import ct_rate, ctrg_chest
from data_prep.tables import TableError, read_table
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.data.manifest import read_manifest
from mg3d.evaluation.metrics import aurocs
from mg3d.preparation.prepare import PrepareSettings, RunOptions
from mg3d.text.encoder import load_text_encoder
from mg3d.text.report import report_sentences
from mg3d.text.tokens import tokenize_report
from mg3d.volumes.grid import Grid
from mg3d.volumes.intensity import EightBit

SMALL = PrepareSettings(grid=Grid((4, 4, 4)))
REPORTS = "radiology_text_reports/train_reports.csv"
LABELS = "multi_abnormality_labels/train_predicted_labels.csv"
METADATA = "metadata/train_metadata.csv"
NAMES = [f"train_{n}_a_1" for n in (121, 154, 537, 653, 801, 890, 976, 1018)]
SECTIONS = ("reports", "labels", "metadata", "ctrg")


@pytest.fixture
def broken(shared_data):
    return shared_data / "broken"


@pytest.fixture
def take(broken, tmp_path):
    """Import eight volumes with these tables; the exit status, the manifest and the refusals."""

    def run(reports="ok_reports", labels=None):
        tree = Tree(tmp_path / f"{reports}-{labels}" / "raw")
        for name in NAMES:
            tree.volume(name)
        for place, file in ((REPORTS, f"reports/{reports}.csv"), (LABELS, f"labels/{labels}.csv")):
            if (broken / file).is_file():
                (tree.root / place).parent.mkdir(parents=True)
                shutil.copyfile(broken / file, tree.root / place)
        out = tree.root.parent / "out"
        done = ct_rate.prepare_ct_rate(tree.root, out, RunOptions(settings=SMALL, workers=0))
        return done.exit_status, read_manifest(out), refused(out)

    return run


def refused(folder):
    with (folder / "refused.csv").open(newline="", encoding="utf-8") as file:
        return {row["file"].split("/")[-1]: row["reason"] for row in csv.DictReader(file)}


def sentences(manifest):
    rows = manifest.rows
    found = map(report_sentences, rows["findings"], rows["impression"])
    return dict(zip(rows["volume_id"], found, strict=True))


def labels_of(manifest):
    return manifest.rows.set_index("volume_id")[list(CT_RATE_FINDINGS)]


# reports/


def reports_ok_reports(take):
    status, manifest, refusals = take()
    assert (status, refusals) == (0, {})
    assert manifest.rows["volume_id"].tolist() == NAMES
    assert all(sentences(manifest).values())


def same_rows(name):
    def check(take):
        status, manifest, _ = take(name)
        assert status == 0
        assert sentences(manifest) == sentences(take()[1])

    return check


def reports_ok_quotes_newlines(take):
    status, manifest, _ = take("ok_quotes_newlines")
    found, expected = sentences(manifest), sentences(take()[1])
    assert status == 0
    assert list(found) == NAMES
    different = [name for name in NAMES if found[name] != expected[name]]
    assert different == NAMES[1:2]  # where the file puts quoted words before the first sentence
    assert len(found[NAMES[1]]) == len(expected[NAMES[1]])


def reports_duplicate_ids(take):
    status, manifest, refusals = take("duplicate_ids")
    assert status == 3
    assert manifest.rows["volume_id"].tolist() == [NAMES[0], *NAMES[2:]]
    assert manifest.facts["repeated_rows"] == 1
    assert "two different rows in" in refusals["train_154_a_1.nii.gz"]
    assert "lines 3 and 11" in refusals["train_154_a_1.nii.gz"]


def reports_missing_volume(take):
    status, manifest, refusals = take("missing_volume")
    assert status == 3
    assert refusals["train_reports.csv:5"].startswith("VolumeName '', expected a name")
    assert refusals["train_reports.csv:8"].startswith("VolumeName 'volume 7', expected a name")
    assert manifest.facts["reports_without_volume"]["first"] == ["train_99999_a_1"]
    assert manifest.rows["volume_id"].tolist() == [*NAMES[:3], NAMES[4], NAMES[7]]
    assert manifest.facts["counts"]["refused"] == 5  # two rows, three volumes left without a report


def reports_empty_findings(take):
    status, manifest, refusals = take("empty_findings")
    assert status == 3
    assert set(refusals) == {"train_154_a_1.nii.gz", "train_537_a_1.nii.gz"}
    assert all("no report text" in reason for reason in refusals.values())
    rows = manifest.rows.set_index("volume_id")
    assert (rows.loc[[NAMES[0], *NAMES[3:6]], "findings"] == "").all()
    texts = [s for found in sentences(manifest).values() for s in found]
    assert not any(re.fullmatch(r"nan|not given|[.-]*", text.strip(" .")) for text in texts)


def reports_ok_nonascii_utf8(take):
    status, manifest, _ = take("ok_nonascii_utf8")
    assert (status, len(manifest.rows)) == (0, 8)
    text = " ".join(s for found in sentences(manifest).values() for s in found)
    assert "ğ" in text
    assert "\ufffd" not in text
    assert all(sentences(manifest).values())


def reports_nonascii_utf16(take):
    assert sentences(take("nonascii_utf16")[1]) == sentences(take("ok_nonascii_utf8")[1])


def reports_very_long(take):
    start = time.process_time()
    status, manifest, _ = take("very_long")
    found = sentences(manifest)
    assert time.process_time() - start < 20  # quadratic time would take hours
    assert status == 0
    assert all(sentence.strip() for texts in found.values() for sentence in texts)
    tokenizer = load_text_encoder("embedded").tokenizer
    tokens = [len(tokenize_report(tokenizer, texts, 192).tokens) for texts in found.values()]
    assert max(tokens) == 192
    assert min(tokens) >= 3


def refuses(section, name, reason):
    """The whole table is refused: by the file's name as it lies in the tree, and the reason."""

    def check(take):
        with pytest.raises(TableError, match=reason) as error:
            take(**{section: name})
        expected = REPORTS if section == "reports" else LABELS
        assert str(error.value).replace("\\", "/").count(expected) == 1

    return check


# labels/


def labels_ok_labels(take):
    status, manifest, _ = take(labels="ok_labels")
    assert status == 0
    assert labels_of(manifest).shape == (8, 18)
    assert not labels_of(manifest).isna().any(axis=None)
    assert manifest.facts["volumes_without_labels"]["count"] == 0


def same_labels(name):
    def check(take):
        found, expected = (labels_of(take(labels=n)[1]) for n in (name, "ok_labels"))
        assert found.equals(expected)
        assert 0 < expected.to_numpy().sum() < 8 * 18

    return check


def labels_fewer_rows(take):
    status, manifest, _ = take(labels="fewer_rows")
    assert status == 0
    found, expected = labels_of(manifest), labels_of(take(labels="ok_labels")[1])
    assert found.loc[NAMES[:5]].equals(expected.loc[NAMES[:5]])
    assert found.loc[NAMES[5:]].isna().all(axis=None)
    assert manifest.facts["volumes_without_labels"] == {"count": 3, "first": NAMES[5:]}


def labels_one_class_all_zero(take):
    found = labels_of(take(labels="one_class_all_zero")[1]).to_numpy()
    scores = aurocs(found, np.random.default_rng(0).random(found.shape))
    empty = found.sum(axis=0) == 0
    assert empty.any()
    assert np.isnan(scores[empty]).all()


CHECKS = {
    "reports/ok_reports.csv": reports_ok_reports,
    "reports/ok_bom_crlf.csv": same_rows("ok_bom_crlf"),
    "reports/ok_quote_all.csv": same_rows("ok_quote_all"),
    "reports/ok_quotes_newlines.csv": reports_ok_quotes_newlines,
    "reports/ok_columns_reordered.csv": same_rows("ok_columns_reordered"),
    "reports/duplicate_ids.csv": reports_duplicate_ids,
    "reports/missing_volume.csv": reports_missing_volume,
    "reports/empty_findings.csv": reports_empty_findings,
    "reports/ok_nonascii_utf8.csv": reports_ok_nonascii_utf8,
    "reports/nonascii_utf16.csv": reports_nonascii_utf16,
    "reports/very_long.csv": reports_very_long,
    "labels/ok_labels.csv": labels_ok_labels,
    "labels/ok_columns_reordered.csv": same_labels("ok_columns_reordered"),
    "labels/ok_names_without_extension.csv": same_labels("ok_names_without_extension"),
    "labels/ok_float_strings.csv": same_labels("ok_float_strings"),
    "labels/fewer_rows.csv": labels_fewer_rows,
    "labels/one_class_all_zero.csv": labels_one_class_all_zero,
} | {
    f"{section}/{name}.csv": refuses(section, name, reason)
    for section, name, reason in (
        ("reports", "nonascii_cp1254", "not UTF-8, byte 0x.. at offset [0-9]+; save it as UTF-8"),
        ("reports", "missing_column", "column Findings_EN not found; it has VolumeName, "),
        ("reports", "semicolon", "column VolumeName.* not found.*is its separator ;"),
        ("reports", "ragged", "expected 5 fields a row, but line 4: 7 fields; line 6: 2 fields"),
        ("reports", "unclosed_quote", "unexpected end of data .*cut off inside a quoted field"),
        ("reports", "zero_byte", "empty file"),
        ("reports", "header_only", "no rows, only the header"),
        ("reports", "nul_bytes", "line [0-9]+: NUL byte"),
        ("labels", "bad_values", "labels are neither 0 nor 1, first line 2, column Medical.*: '2'"),
        ("labels", "missing_class", "column .* not found"),
    )
}  # fmt: skip


@pytest.mark.parametrize("row", CHECKS)
def test_a_row_of_the_list_behaves_as_it_says(row, take):
    CHECKS[row](take)


def test_every_row_of_the_list_has_its_test(broken):
    text = (broken / "README.md").read_text(encoding="utf-8")
    section, rows = "", []
    for line in text.splitlines():
        if line.startswith("## "):
            section = line[3:].split("/")[0]
        elif line.startswith("| `") and section in SECTIONS:
            rows.append(f"{section}/{line.split('`')[1]}")
    assert sorted(rows) == sorted([*CHECKS, "metadata/spacing_and_rescale_variants.csv", *CTRG])


# metadata/


def test_a_row_of_the_metadata_is_used_or_refused_by_its_line(broken, tmp_path):
    tree = Tree(tmp_path / "raw")
    table = broken / "metadata" / "spacing_and_rescale_variants.csv"
    names = [row["VolumeName"].removesuffix(".nii.gz") for row in read_table(table, ())]
    for name in names:
        tree.volume(name, folder="train", offset=1024)
        tree.report(f"{name}.nii.gz")
    (tree.root / METADATA).parent.mkdir()
    shutil.copyfile(table, tree.root / METADATA)
    done = ct_rate.prepare_ct_rate(
        tree.root, tmp_path / "out", RunOptions(settings=SMALL, workers=0)
    )
    taken = read_manifest(tmp_path / "out").rows["volume_id"].tolist()
    assert done.exit_status == 3
    assert [names.index(name) + 1 for name in taken] == [1, 2, 3, 4, 7]
    reasons = refused(tmp_path / "out")
    for number, name in enumerate(names, start=1):
        if name not in taken:
            reason = reasons[f"{name}.nii.gz"]
            assert re.match(rf"metadata, line {number + 1}: .*correct the row", reason)
    with (tmp_path / "out" / "scans.csv").open(newline="") as file:
        seventh = next(row for row in csv.DictReader(file) if row["volume_id"] == names[6])
    assert (seventh["x_spacing_mm"], seventh["y_spacing_mm"]) == ("0.8", "0.7")


# ctrg/

CTRG = {
    "ctrg/ok_ctrg.json": (3, {"910": "train", "1357": "train", "208": "test"}, {}),
    "ctrg/split_overlap.json": (
        3,
        {"910": "test", "1357": "train", "208": "test"},
        {"train[0]": "id 910 is held out too"},
    ),
    "ctrg/missing_keys.json": (
        3,
        {"910": "train", "208": "test"},
        {
            "train[1]": "no report in the record",
            "train[2]": "report is null",
            "train[3]": "report is empty",
            "val[0]": "id is '208', which is no text",
        },
    ),
    "ctrg/truncated.json": (None, r"truncated\.json, line 1, column [0-9]+: .*cut off", {}),
    "ctrg/wrong_top_level.json": (3, {"910": None, "1357": None}, {}),
    "ctrg/odd_paths.json": (
        3,
        {"208": "test"},
        {
            "train[0]": "leads out of the data set's folder",
            "train[1]": "leads out of the data set's folder",
            "train[2]": "id '1209', but image_path names '910.nii.gz'",
        },
    ),
}


@pytest.mark.parametrize("row", CTRG)
def test_a_record_file_of_the_list_behaves_as_it_says(row, broken, shared_data, tmp_path, caplog):
    status, expected, reasons = CTRG[row]
    settings = PrepareSettings(grid=Grid((4, 4, 4)), intensity=EightBit())
    options, how = RunOptions(settings=settings, workers=0), {"records": broken / row}
    source = shared_data / "layouts" / "ctrg"
    if status is None:
        with pytest.raises(TableError, match=expected):
            ctrg_chest.prepare_ctrg_chest(source, tmp_path, options, **how)
        return
    done = ctrg_chest.prepare_ctrg_chest(source, tmp_path, options, **how)
    assert done.exit_status == (3 if reasons else 0)
    rows = read_manifest(tmp_path).rows.set_index("volume_id")
    for case, split in expected.items():
        assert split in (None, rows.loc[case, "split"])
    assert set(rows.index) == set(expected)
    found = {file.split(":")[-1]: reason for file, reason in refused(tmp_path).items()}
    for place, reason in reasons.items():
        assert reason in found[place]
    assert found.keys() == reasons.keys()
    absent = read_manifest(tmp_path).facts["records_without_volume"]  # not in the miniature
    assert absent["count"] == len(absent["first"])
    same = "val and test are the same" in caplog.text
    assert same == (row in ("ctrg/ok_ctrg.json", "ctrg/odd_paths.json"))
