import json
from dataclasses import replace as with_fields

import numpy as np
import pandas as pd
import pytest
from prepared_patients import small_config

from mg3d.config import change
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.evaluation.metrics import Score
from mg3d.evaluation.summary import evaluate, summarise, write_metrics
from mg3d.training.step import build_pretraining

# The evaluation scores of the main notebook's metrics.json; its other entries describe the run.
PROMISED = {
    "probe_macro_auroc",
    "probe_macro_auroc_untrained",
    "retrieval_recall_at_5",
    "retrieval_chance_at_5",
    "retrieval_recall_at_5_shuffled",
    "zero_shot_macro_auroc",
}


PLANTED = {"Lung nodule": 0, "Lung opacity": 1, "Atelectasis": 2}  # finding -> axis


def striped_by_finding(patient, number, plan):
    """Noise, and stripes along one axis for each of three findings that the report speaks of."""
    voxels = np.random.default_rng([patient, number]).integers(0, 60, (32, 32, 32))
    for finding, axis in PLANTED.items():
        if plan.labels()[CT_RATE_FINDINGS.index(finding)]:
            shape = [1, 1, 1]
            shape[axis] = 32
            voxels += (60 * (np.arange(32) // 4 % 2)).reshape(shape)
    return voxels


@pytest.fixture(scope="module")
def load(text_encoder):
    def dataset(folder):
        return [
            VolumeReportDataset(
                folder, split, text_encoder.tokenizer, max_tokens=192, volume_shape=(32, 32, 32)
            )
            for split in ("train", "val")
        ]

    return dataset


@pytest.fixture(scope="module")
def score(text_encoder):
    def evaluation(train, val, seed=0, **changes):
        changed = change(small_config(), seed=seed, **changes)
        return evaluate(build_pretraining(changed, text_encoder), train, val)

    return evaluation


@pytest.fixture(scope="module")
def both(load, score, prepared):
    """Two models of different first weights, taken for one after and one before training."""
    train, val = load(prepared)
    return score(train, val), score(train, val, seed=1)


def read_strict(path):
    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_every_promised_number_is_there_with_its_interval(both, tmp_path):
    write_metrics(summarise(*both), tmp_path / "metrics.json")
    found = read_strict(tmp_path / "metrics.json")
    assert set(found) >= PROMISED
    for name in PROMISED - {"retrieval_chance_at_5"}:
        low, high = found[f"{name}_interval"]
        assert low <= found[name] <= high
    assert found["held_out_patients"] == 4
    assert found["retrieval_pool_size"] == 4
    assert found["retrieval_chance_at_5"] == 1.0
    assert len(found["probe_auroc_per_finding"]) == len(found["zero_shot_auroc_per_finding"]) == 18
    assert None in found["probe_auroc_per_finding"].values()  # nobody of four has every finding


def test_before_and_after_are_not_mixed_up(both):
    after, before = both
    scores = iter(Score(0.01 * n, 0.0, 1.0, 4) for n in range(1, 5))  # of so few patients all are 1
    after = with_fields(
        after,
        retrieval=with_fields(after.retrieval, recall=next(scores), shuffled=next(scores)),
        retrieval_aligned=with_fields(
            after.retrieval_aligned, recall=next(scores), shuffled=next(scores)
        ),
    )
    values = summarise(after, before)
    assert values["probe_macro_auroc"] == after.probe.macro.value
    assert values["probe_macro_auroc_untrained"] == before.probe.macro.value
    assert values["probe_macro_auroc"] != values["probe_macro_auroc_untrained"]
    gained = after.probe.macro.value - before.probe.macro.value
    assert values["probe_gain"] == pytest.approx(gained)
    aligned = after.retrieval_aligned
    assert values["retrieval_recall_at_5"] == aligned.recall.value
    assert values["retrieval_recall_at_5_untrained"] == before.retrieval_aligned.recall.value
    assert values["retrieval_recall_at_5_shuffled"] == aligned.shuffled.value
    assert values["retrieval_own_head_recall_at_5"] == after.retrieval.recall.value
    assert values["retrieval_own_head_recall_at_5_shuffled"] == after.retrieval.shuffled.value
    assert values["zero_shot_macro_auroc"] == after.zero_shot.macro.value
    assert values["retrieval_protocol"] == "alignment head"


def test_one_held_out_patient_gives_nulls_not_numbers(load, score, tmp_path, write_patients):
    train, val = load(write_patients(tmp_path / "data", ["train"] * 8 + ["val"]))
    scored = score(train, val)
    write_metrics(summarise(scored, scored), tmp_path / "metrics.json")
    found = read_strict(tmp_path / "metrics.json")
    assert set(found) >= PROMISED
    for name in ("probe_macro_auroc", "probe_gain", "zero_shot_macro_auroc"):
        assert found[name] is None
        assert found[f"{name}_interval"] == [None, None]
    assert set(found["probe_auroc_per_finding"].values()) == {None}
    assert found["held_out_patients"] == found["retrieval_pool_size"] == 1
    assert found["retrieval_chance_at_5"] == 1.0


def test_without_a_clip_head_only_the_alignment_head_is_scored(load, score, prepared):
    train, val = load(prepared)
    scored = score(train, val, weights=small_config().weights.without("clip"))
    assert scored.retrieval is None and scored.zero_shot is None
    values = summarise(scored, scored)
    assert set(values) >= PROMISED
    assert values["zero_shot_macro_auroc"] is None
    assert values["retrieval_protocol"] == "alignment head"
    assert "retrieval_own_head_recall_at_5" not in values


def test_what_is_planted_is_found_and_the_shuffled_control_is_not(
    load, score, tmp_path, write_patients
):
    folder = write_patients(
        tmp_path / "data", ["train"] * 150 + ["val"] * 64, voxels=striped_by_finding
    )
    table = pd.read_csv(folder / "manifest.csv")
    table["findings"] = [
        " ".join(f"{name} is {'seen' if row[name] else 'absent'}." for name in PLANTED)
        for _, row in table.iterrows()
    ]
    table["impression"] = ""
    table.to_csv(folder / "manifest.csv", index=False)
    scored = score(*load(folder), encoder_settings={"channels": (8, 16, 32)})
    aligned = scored.retrieval_aligned
    assert min(scored.probe.per_finding[finding] for finding in PLANTED) > 0.9
    assert aligned.pool_size == 64 and aligned.chance == 5 / 64
    assert aligned.recall.low > 2 * aligned.chance
    assert aligned.shuffled.value < 2 * aligned.chance


def test_numbers_that_are_none_become_null_at_any_depth(tmp_path):
    values = {"a": float("nan"), "b": [1.0, float("inf")], "c": {"d": np.float64("nan")}, "e": 3}
    write_metrics(values, tmp_path / "metrics.json")
    assert read_strict(tmp_path / "metrics.json") == {
        "a": None, "b": [1.0, None], "c": {"d": None}, "e": 3
    }  # fmt: skip
