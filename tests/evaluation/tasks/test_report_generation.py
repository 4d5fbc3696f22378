"""Report generation: cases, losses, scores of saved texts, and what is refused."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data_prep.ctrg_chest import prepare_ctrg_chest
from data_prep.phantom.layouts.ctrg import write_ctrg_chest
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.evaluation.tasks.report_generation import ReportGeneration, other_patients
from mg3d.evaluation.tasks.report_generation_cases import read_reports
from mg3d.evaluation.tasks.report_generation_decoder import Written
from mg3d.evaluation.tasks.report_generation_scores import (
    OTHER,
    RANDOM,
    compare_findings,
    generation_measures,
    rivals,
)
from mg3d.evaluation.tasks.settings import TaskConfig, TuningSettings
from mg3d.evaluation.tasks.task import Predicted, Prediction
from mg3d.evaluation.text_metrics import meteor
from mg3d.preparation.prepare import RunOptions

SICK, WELL = "There is cardiomegaly. No effusion.", "Heart is normal. No effusion."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("ctrg")
    write_ctrg_chest(root / "raw", 12, 0)
    return prepare_ctrg_chest(root / "raw", root / "out", RunOptions(workers=0)).folder


def predicted(texts, *, other=None):
    cases = [
        Prediction(f"c{n}", f"p{n}", {"report": text, "other_volume": other}, {"report": true})
        for n, (text, true) in enumerate(zip(texts, [SICK, WELL, SICK], strict=True))
    ]
    return Predicted(cases, known={"train_reports": [WELL, WELL, SICK], "note": "val is test"})


def values(measures, metric):
    return {m.model: m.score.value for m in measures if m.metric == metric}


def test_scores_of_hand_worked_texts_stand_beside_those_of_trivial_reports(monkeypatch):
    monkeypatch.setattr(meteor, "missing", lambda: "not here")
    measures = generation_measures(predicted([SICK, WELL, WELL], other=WELL))
    f1 = values(measures, "clinical_f1_micro")
    assert measures[0].metric == ReportGeneration.primary
    assert f1[""] == pytest.approx(2 / 3)  # one of two found, nothing invented
    assert f1[OTHER] == 0
    assert {model for model in f1 if model.startswith("trivial")} >= {RANDOM}
    assert values(measures, "bleu_1")[""] == pytest.approx(13 / 14)  # SICK has 5 words, WELL 5
    assert "val is test" in measures[0].note
    assert math.isnan(values(measures, "meteor")[""])


def test_without_another_patient_there_is_no_row_of_that_name():
    assert OTHER not in rivals(predicted([SICK, WELL, WELL]))


def test_findings_are_found_missed_and_invented():
    compared = compare_findings("There is cardiomegaly. Hiatal hernia.", "Cardiomegaly. Emphysema.")
    assert compared.found == ("Cardiomegaly",)
    assert compared.missed == ("Emphysema",)
    assert compared.invented == ("Hiatal hernia",)


def test_padding_costs_nothing_and_every_other_piece_does():
    task = ReportGeneration(ReportGeneration.defaults())
    batch = SimpleNamespace(ids=torch.tensor([[0, 1, 0, 0]]), length=torch.tensor([3]))
    logits = torch.zeros(1, 4, 2)
    logits[0, 2] = torch.tensor([5.0, -5.0])  # about the padding behind the end
    losses = task.loss(Written(logits, None, None), batch)
    assert losses["words"].item() == pytest.approx(math.log(2))
    logits[0, 1] = torch.tensor([-9.0, 9.0])  # about the end, whose id is that of padding
    assert task.loss(Written(logits, None, None), batch)["words"] > 5


def test_the_other_volume_is_that_of_another_patient():
    cases = SimpleNamespace(patient_id=["a", "a", "b", "c"], patients=lambda: ["a", "b", "c"])
    assert other_patients(cases) == {0: 2, 1: 2, 2: 3, 3: 0}
    assert other_patients(SimpleNamespace(patient_id=["a"], patients=lambda: ["a"])) == {}


def test_permuted_reports_are_dealt_to_other_volumes_in_training_only(folder):
    settings = ReportGeneration.defaults()
    config = TaskConfig(tuning=TuningSettings(permute_labels=True), own=settings.own)
    plain, dealt = (ReportGeneration(c).prepare(folder, "train", training=True) for c in
                    (settings, config))  # fmt: skip
    assert sorted(dealt.items.reports) == sorted(plain.items.reports)
    assert dealt.items.reports != plain.items.reports
    number = next(n for n, own in enumerate(plain.items.reports) if own != dealt.items.reports[n])
    same = plain.items.reports.index(dealt.items.reports[number])
    assert dealt.items[number].ids == plain.items[same].ids
    assert np.array_equal(dealt.items[number].findings, plain.items[same].findings)
    whole = ReportGeneration(config).prepare(folder, "test")
    assert whole.items.reports == read_reports(whole.split)


def test_an_empty_report_is_refused_by_file_volume_and_patient(folder):
    volumes = VolumeDataset(folder, "train")
    volumes.rows.loc[1, "findings"] = " - "
    patient = volumes.rows["patient_id"][1]
    with pytest.raises(ValueError, match=rf"manifest\.csv: 1 of .* of patient {patient}"):
        read_reports(volumes)
