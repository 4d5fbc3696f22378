"""Report generation: cases, losses, scores of saved texts, and what is refused."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mg3d.data.volume_dataset import VolumeDataset
from mg3d.evaluation.tasks.predictions import read_predictions
from mg3d.evaluation.tasks.report_generation import ReportGeneration, other_patients
from mg3d.evaluation.tasks.report_generation_cases import ReportBatch, read_reports
from mg3d.evaluation.tasks.report_generation_decoder import Written
from mg3d.evaluation.tasks.report_generation_scores import (
    OTHER,
    RANDOM,
    compare_findings,
    generation_measures,
    rivals,
)
from mg3d.evaluation.tasks.run import run_task
from mg3d.evaluation.tasks.settings import TaskConfig, TuningSettings
from mg3d.evaluation.tasks.task import Predicted, Prediction
from mg3d.evaluation.text_metrics import meteor

SICK, WELL = "There is cardiomegaly. No effusion.", "Heart is normal. No effusion."


@pytest.fixture
def folder(stand_in):
    return stand_in("ctrg_chest")


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
    monkeypatch.setattr("mg3d.evaluation.tasks.report_generation_scores.DRAWS", 5)
    measures = generation_measures(predicted([SICK, WELL, WELL], other=WELL))
    f1 = values(measures, "clinical_f1_micro")
    assert measures[0].metric == ReportGeneration.primary
    assert f1[""] == pytest.approx(2 / 3)  # one of two found, nothing invented
    assert f1[OTHER] == 0
    assert {model for model in f1 if model.startswith("trivial")} >= {RANDOM}
    assert values(measures, "bleu_1")[""] == pytest.approx(13 / 15)  # of 5, 5 and 5 words
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
    batch = ReportBatch(
        ("a",), ("a",), torch.zeros(1, 1, 2, 2, 2),
        torch.tensor([[0, 1, 0, 0]]), torch.tensor([3]), torch.zeros(1, 18),
    )  # fmt: skip
    logits = torch.zeros(1, 4, 2)
    logits[0, 2] = torch.tensor([5.0, -5.0])  # about the padding behind the end
    losses = task.loss(Written(logits, None, None), batch)
    assert losses["words"].item() == pytest.approx(math.log(2))
    logits[0, 1] = torch.tensor([-9.0, 9.0])  # about the end, whose id is that of padding
    assert task.loss(Written(logits, None, None), batch)["words"] > 5


def test_the_other_volume_is_that_of_another_patient():
    assert other_patients(["a", "a", "b", "c"]) == {0: 2, 1: 2, 2: 3, 3: 0}
    assert other_patients(["a", "a"]) == {}


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


@pytest.mark.parametrize("tuning", ["full", "frozen", "lora"])
def test_a_run_writes_a_report_about_every_held_out_volume(tuning, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(meteor, "missing", lambda: "not here")
    monkeypatch.setattr("mg3d.evaluation.tasks.report_generation_scores.DRAWS", 5)
    config = ReportGeneration.defaults()
    config = replace(
        config,
        tuning=TuningSettings(tuning=tuning),
        finetune=replace(config.finetune, total_steps=2, batch_size=2),
        own=replace(config.own, max_tokens=12, decoder_start="scratch", decoder_width=16),
    )
    done = run_task("report_generation", folder, "scratch", tmp_path, config, log=lambda _: None)
    (evaluated,) = {row["evaluation_set"] for row in done.rows}
    written = read_predictions(tmp_path / "predictions" / evaluated)
    assert sorted(one.case_id for one in written) == sorted(
        done.task.prepare(folder, evaluated).case_id
    )
    assert all(one.truth["report"] and one.output["other_patient"] != one.patient_id
               for one in written)  # fmt: skip
    assert (done.rows[0]["metric"], done.rows[0]["tuning"]) == ("clinical_f1_micro", tuning)
    models = {row["model"] for row in done.rows if row["metric"] == "bleu_4"}
    assert {OTHER, RANDOM} < models


def test_a_table_without_reports_is_refused(stand_in, tmp_path):
    with pytest.raises(ValueError, match=r"manifest\.csv: .* have no text in column findings"):
        run_task("report_generation", stand_in("stoic2021"), "scratch", tmp_path)
