"""The real report texts of the shared folder, for tests. They are never copied, nor printed."""

import csv
import json
from pathlib import Path


def real_texts(shared_data: Path) -> list[str]:
    """All texts of CT-RATE's classifier and of CTRG-Chest, findings and impressions apart."""
    folder = shared_data / "reports"
    texts = []
    for name in ("train", "val"):
        path = folder / "ctrate_text_classifier" / f"{name}.csv"
        with path.open(newline="", encoding="utf-8-sig") as table:
            texts += [row["report_text"] for row in csv.DictReader(table)]
    for name in ("train", "validation"):
        path = folder / "ctrate_format" / "radiology_text_reports" / f"{name}_reports.csv"
        with path.open(newline="", encoding="utf-8-sig") as table:
            for row in csv.DictReader(table):
                texts += [row["Findings_EN"], row["Impressions_EN"]]
    for record in records_of_ctrg(shared_data):
        texts += [record["report"], record["result"]]
    return texts


def records_of_ctrg(shared_data: Path) -> list[dict[str, str]]:
    """The records of CTRG-Chest, train and val; test is val once more."""
    path = shared_data / "reports" / "ctrg_chest" / "chest_ctrg_nitfy_ori_split.json"
    chest = json.loads(path.read_text())
    return [record for split in ("train", "val") for record in chest[split]]
