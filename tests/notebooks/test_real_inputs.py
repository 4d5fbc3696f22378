"""The data lessons run on a reader's own files, and print no date of a report."""

import csv
import json
from pathlib import Path

import papermill
import pytest
from forked_kernels import kernels_of

from mg3d.data.manifest import read_manifest
from mg3d.text.dates import DATE

ROOT = Path(__file__).parents[2]
CHEST = "volumes/chest_lungdx_A0001_kernelB.nii.gz"
SERIES = "volumes/chest_ibsi_lungtumour/dicom"
REPORTS = "reports/ctrate_format/radiology_text_reports/train_reports.csv"

pytestmark = pytest.mark.slow


@pytest.fixture
def run(shared_data, tmp_path):
    """Runs a lesson on one of the shared files: its cells, and its metrics."""

    def run_lesson(name, parameter, path, **others):
        with kernels_of(ROOT):
            executed = papermill.execute_notebook(
                ROOT / "notebooks" / f"{name}.ipynb",
                tmp_path / "out.ipynb",
                parameters={
                    parameter: str(shared_data / path),
                    "output_dir": str(tmp_path / "run"),
                    **others,
                },
                progress_bar=False,
            )
        return executed, json.loads((tmp_path / "run" / "metrics.json").read_text())

    return run_lesson


def words_of(executed):
    """All text a run has put out."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    parts = [output.get("text", "") for output in outputs]
    for output in outputs:
        parts += [output.get("data", {}).get(kind, "") for kind in ("text/plain", "text/html")]
    return "\n".join(parts)


def dates_of(row):
    """Full dates in a report, "26.03.2018"."""
    found = DATE.finditer(f"{row['Findings_EN']} {row['Impressions_EN']}")
    return [match[0] for match in found if len(match[0]) >= 8]


def test_volumes_of_a_dicom_series(run):
    _, metrics = run("01a_ct_volumes", "volume_path", SERIES, patient=0)
    assert metrics["shape"] == [60, 201, 204]
    assert metrics["axes_of_the_file"] == "LPS"
    assert metrics["marker_off_by_mm"] < 2


def test_volumes_of_a_whole_chest(run):
    _, metrics = run("01a_ct_volumes", "volume_path", CHEST, patient=0)
    assert metrics["shape"] == [64, 512, 512]
    assert 4 < metrics["lung_litres"] < 7
    refused = [case["decision"].startswith("REFUSED") for case in metrics["decisions"]]
    assert refused == [False, False, False, True, True]


def test_reports_without_a_date(run, shared_data, tmp_path):
    with (shared_data / REPORTS).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    dated = [row for row in rows if dates_of(row)]
    assert dated, "the shared reports name no date: nothing is tested"
    dated_first = tmp_path / "dated_first.csv"
    with dated_first.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(dated + [row for row in rows if not dates_of(row)])
    executed, metrics = run("01b_reports_and_sentences", "reports_csv", dated_first)
    assert metrics["reports"] > 20
    said = words_of(executed)
    assert "[date]" in said and not [
        date for row in dated for date in dates_of(row) if date in said
    ]


def test_a_folder_of_ct_rate(run, tmp_path):
    executed, metrics = run("01c_prepare_a_dataset", "source_dir", "layouts/ctrate/dataset",
                            num_patients=5, val_patients=1)  # fmt: skip
    assert (metrics["volumes"], metrics["refused"]) == (4, 0)
    assert len(metrics["broken_refused"]) == 5 and metrics["same_fingerprint"]
    rows = read_manifest(tmp_path / "run" / "prepared").rows
    said = words_of(executed)
    assert not [text for text in (*rows["findings"], *rows["impression"]) if text and text in said]
