"""Tables of a run's predictions and rows."""

import numpy as np
import pytest

from mg3d.evaluation.ledger import rows_of
from mg3d.evaluation.tasks.multilabel_scores import multilabel_measures
from mg3d.evaluation.tasks.predictions import folder_of, write_predictions
from mg3d.evaluation.tasks.tables import finding_rows, read_label_tables
from mg3d.evaluation.tasks.task import Predicted, Prediction

CASES = [
    Prediction("b_1", "b", {"output": [0.2, 1.0]}, {"Nodule": 1.0, "Effusion": None}),
    Prediction("b_2", "b", {"output": [0.3, -1.0]}, {"Nodule": 0.0, "Effusion": 1.0}),
    Prediction("a_1", "a", {"output": [0.9, 0.5]}, {"Nodule": 1.0, "Effusion": 0.0}),
]


@pytest.fixture
def run(tmp_path):
    folder_of(tmp_path, "val").mkdir(parents=True)
    write_predictions(folder_of(tmp_path, "val"), CASES)
    return tmp_path


def test_scores_labels_and_names_stand_in_one_order(run):
    tables = read_label_tables(run, "val")
    assert tables.case_ids == ["a_1", "b_1", "b_2"]
    assert tables.patient_ids == ["a", "b", "b"]
    assert tables.scores["Effusion"].tolist() == [0.5, 1.0, -1.0]
    assert tables.labels["Nodule"].tolist() == [1, 1, 0]
    assert np.isnan(tables.labels["Effusion"][1])


def test_a_split_that_was_not_predicted_is_refused(run):
    with pytest.raises(FileNotFoundError, match="test"):
        read_label_tables(run, "test")


def test_rows_of_the_model_are_named_by_finding_the_mean_first():
    rows = rows_of(multilabel_measures(Predicted(CASES)), {"model": "UNet"})
    found = finding_rows(rows, "words")
    assert [row["finding"] for row in found] == ["macro", "Nodule", "Effusion"]
    assert {row["model"] for row in found} == {"words"}
    assert found[1]["value"] == 0.5 and found[0]["low"] <= found[0]["value"]
