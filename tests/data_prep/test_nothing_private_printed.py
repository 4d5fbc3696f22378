"""Whatever is wrong with a table, its reports and their dates are not printed."""

import csv
import io

import pytest
from ct_rate_tree import REPORT, Tree

from data_prep import ct_rate, ctrg_chest
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.text.dates import DATE, hide_dates

SHOWN_WORDS = 6  # in a row; fewer may be a column's name or a common phrase
REPORTS = "radiology_text_reports/train_reports.csv"
LABELS = "multi_abnormality_labels/train_predicted_labels.csv"
MADE_UP = (
    "Compared with the examination dated 26.03.2018, a nodule of 5 mm has newly appeared in the "
    "left lung. The CT of March 2017 showed none of it at this level.",
    "Stable nodules in both lungs since 11 October 2016, follow-up in a year is recommended.",
)


def quoted(*fields):
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()


def damaged(findings, impression):
    """Report and label tables in which report texts stand where they should not."""
    header, name = REPORT, "train_1_a_1.nii.gz"
    good = quoted(name, "", "", findings, impression)
    flat = findings.replace('"', "")
    ones = ",".join(["1"] * 17)
    wide = ",".join(("VolumeName", *CT_RATE_FINDINGS))
    return {
        "no header": (good, None),
        "semicolons": (header.replace(",", ";") + f"\n{name};;;{flat};x", None),
        "text as name": (f"{header}\n{quoted(findings, '', '', name, impression)}\n{good}", None),
        "date as name": (f"{header}\n{quoted('CT of 26.03.2018', '', '', 'a', 'b')}\n{good}", None),
        "shifted": (f"{header}\n{quoted('', name, '', '', findings)}", None),
        "ragged": (f"{header}\n{good},{quoted(findings)}", None),
        "open quote": (f'{header}\n{name},,,"{flat}', None),
        "two reports": (f"{header}\n{good}\n{quoted(name, '', '', impression, findings)}", None),
        "NUL": (f"{header}\n{good}\0", None),
        "text as label": (f"{header}\n{good}", f"{wide}\n{name},{quoted(findings)},{ones}"),
        "text as column": (f"{header},{quoted(findings)},{quoted(findings)}\n{good},x,y", None),
        "label table without header": (f"{header}\n{good}", f"{name},{quoted(findings)},{ones}"),
    }


def windows(text):
    words = text.split()
    return {" ".join(words[i : i + SHOWN_WORDS]) for i in range(len(words) - SHOWN_WORDS + 1)}


def assert_nothing_shown(folder, printed, texts):
    files = [path for path in folder.glob("*.*") if path.name not in ("manifest.csv", "scans.csv")]
    shown = "\n".join([printed, *(path.read_text(encoding="utf-8") for path in files)])
    assert shown.strip()
    for text in (*texts, "26.03.2018"):
        assert not [window for window in windows(text) if window in shown]
        assert not [date[0] for date in DATE.finditer(text) if date[0] in shown]


def run_all(cases, texts, tmp_path, capsys):
    statuses = []
    for number, (reports, labels) in enumerate(cases):
        tree = Tree(tmp_path / str(number) / "raw")
        tree.volume("train_1_a_1")
        for place, text in ((REPORTS, reports), (LABELS, labels)):
            if text is not None:
                (tree.root / place).parent.mkdir(parents=True)
                (tree.root / place).write_text(text + "\n", encoding="utf-8")
        out = tree.root.parent / "out"
        call = ["--source", str(tree.root), "--output", str(out), "--workers", "0"]
        statuses.append(ct_rate.main([*call, "--shape", "4", "4", "4"]))
        captured = capsys.readouterr()
        assert_nothing_shown(out, captured.out + captured.err, texts)
    return statuses


@pytest.mark.parametrize("case", damaged(*MADE_UP))
def test_no_text_and_no_date_of_a_made_up_report_is_printed(case, tmp_path, capsys):
    (status,) = run_all([damaged(*MADE_UP)[case]], MADE_UP, tmp_path, capsys)
    assert status in (2, 3)


def test_no_text_and_no_date_of_a_real_report_is_printed(shared_data, tmp_path, capsys):
    folder = shared_data / "reports" / "ctrate_format" / "radiology_text_reports"
    with (folder / "train_reports.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    dated = [row for row in rows if hide_dates(row["Findings_EN"]) != row["Findings_EN"]][:3]
    assert len(dated) == 3
    for number, row in enumerate(dated):
        texts = row["Findings_EN"], row["Impressions_EN"]
        statuses = run_all(damaged(*texts).values(), texts, tmp_path / str(number), capsys)
        assert 0 not in statuses


def test_no_text_of_a_damaged_record_file_is_printed(tmp_path, capsys):
    text = MADE_UP[0]
    for content in (
        f'{{"train": [{{"id": "{text}", "report": "a", "result": "", "image_path": "a"}}]}}',
        f'{{"{text}": []}}',
        f'[{{"image_path": "../{text}", "report": "{text}", "result": ""}}]',
        f'[{{"image_path": "{text}", "report": "{text}", "result": ""}}]',
        f'[{{"image_path": "a", "{text}": 1, "{text}": 2}}]',
        f'[{{"image_path": "a", "report": "{text}", "resu',
    ):
        (tmp_path / "records.json").write_text(content)
        status = ctrg_chest.main(["--source", str(tmp_path), "--output", str(tmp_path / "out")])
        captured = capsys.readouterr()
        assert status in (2, 3)
        (tmp_path / "out").mkdir(exist_ok=True)
        assert_nothing_shown(tmp_path / "out", captured.out + captured.err, MADE_UP)
