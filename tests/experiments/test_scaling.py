"""Scaling: nested patients, the same held-out ones, a table that says what a run cost."""

import argparse

import pandas as pd
import pytest

from mg3d.config import PRESETS, change
from mg3d.experiments import scaling
from mg3d.experiments.grid import run_grid
from mg3d.experiments.scaling import (
    MOMENTS,
    SIZES,
    choose_patients,
    keep_patients,
    losses_by_moment,
    one_row_per_run,
    scaling_point,
    scaling_points,
    score_scaling,
    sized,
    training_patients,
)
from mg3d.training.patients import load_patients


def asked(data, **other):
    given = {"data": data, "sizes": ["s", "m"], "patients": ["16", "all"], "seeds": [0, 1]}
    given |= {"objectives": ["only clip"], "steps": 8, "study": False, "probed": 0} | other
    return argparse.Namespace(**given)


@pytest.fixture(scope="module")
def twenty(write_patients, tmp_path_factory):
    return write_patients(tmp_path_factory.mktemp("twenty"), ["train"] * 20 + ["val"] * 4)


def test_every_size_meets_every_number_and_seed_once(twenty):
    rows = [tuple(point.columns.values()) for point in scaling_points(asked(twenty))]
    assert rows == [
        (size, "only clip", patients, seed, 8)
        for seed in (0, 1)
        for patients in (16, 20)
        for size in ("s", "m")
    ]
    names = {point.name(score_scaling) for point in scaling_points(asked(twenty))}
    assert len(names) == 8


def test_what_the_data_or_the_batch_cannot_give_is_refused(twenty):
    with pytest.raises(ValueError, match="20 training patients, but 64 are asked for"):
        scaling_points(asked(twenty, patients=["16", "64"]))
    with pytest.raises(ValueError, match="8 patients do not fill a batch of 16"):
        scaling_points(asked(twenty, patients=["8"]))
    with pytest.raises(ValueError, match=r"size is one of s, m, l, .*; got 'xl'"):
        sized("xl")


def test_the_studys_numbers_and_models_can_be_asked_for(twenty, monkeypatch):
    monkeypatch.setattr(scaling, "training_patients", lambda _: [str(i) for i in range(20_000)])
    points = scaling_points(asked(twenty, sizes=["swin_b", "swin_l"], study=True, steps=None))
    assert {point.columns["patients"] for point in points} == {1_444, 20_000}
    assert sized("swin_b") == change(PRESETS["paper"], warmup_steps=10_000)
    assert sized("swin_l").network.encoder_settings == {"embed_dim": 96}


def test_each_size_is_wider_than_the_one_before_and_nothing_else():
    small = [change(sized(name), encoder_settings={}, dim=8) for name in ("s", "m", "l")]
    assert small[0] == small[1] == small[2]
    assert sized("l") == PRESETS["tiny"]
    widths = [sized(name).network.dim for name in SIZES]
    assert widths[:3] == sorted(widths[:3]) and len(set(widths[:3])) == 3


def test_the_warm_up_fits_a_short_training():
    assert sized("s", steps=40).optimisation.warmup_steps == 10
    assert sized("s", steps=4_000).optimisation.warmup_steps == 50


def test_patients_of_a_smaller_number_are_among_those_of_a_larger_one():
    patients = [f"p{i}" for i in range(30)]
    chosen = [choose_patients(patients, count, seed=1) for count in (4, 16, 30)]
    assert [len(c) for c in chosen] == [4, 16, 30]
    assert chosen[0] < chosen[1] < chosen[2]
    assert chosen[0] == choose_patients(patients, 4, seed=1) != choose_patients(patients, 4, seed=2)
    with pytest.raises(ValueError, match="31 of 30 patients"):
        choose_patients(patients, 31, seed=0)


def test_only_training_patients_are_left_out(prepared, tmp_path, config, text_encoder):
    everyone = training_patients(prepared)
    assert len(everyone) == 9
    folder = keep_patients(prepared, tmp_path / "few", {everyone[1], everyone[4]})
    train, val = load_patients(config, folder, text_encoder.tokenizer)
    whole, same = load_patients(config, prepared, text_encoder.tokenizer)
    assert train.patients == [everyone[1], everyone[4]]
    assert val.patients == same.patients
    assert train.load_volume(1).equal(whole.load_volume(4))


def test_the_best_moment_is_not_the_last_one():
    history = [
        {"step": 0, "val_clip": 2.8, "val_mim": 1.0},
        {"step": 1, "clip": 9.0},
        {"step": 2, "clip": 8.0, "val_clip": 2.0, "val_mim": 0.9},
        {"step": 4, "clip": 1.0, "val_clip": 2.5, "val_mim": 0.8},
    ]
    scores = losses_by_moment(history)
    assert (scores["loss_clip"], scores["loss_clip_best"]) == (2.5, 2.0)
    assert (scores["loss_mim"], scores["loss_mim_best"]) == (0.8, 0.8)
    assert [scores[f"loss_clip_at_{step}"] for step in (0, 2, 4)] == [2.8, 2.0, 2.5]


@pytest.fixture(scope="module")
def table(prepared, tmp_path_factory):
    from prepared_patients import small_config

    config = change(small_config(), total_steps=5)
    config = change(config, weights=config.weights.only("clip"))
    points = [
        scaling_point(config, prepared, patients=patients, probed=6, size="toy")
        for patients in (4, 9)
    ]
    said = []
    runs = tmp_path_factory.mktemp("runs")
    table = run_grid(points, score_scaling, runs, log=said.append)
    assert table.equals(run_grid(points, score_scaling, runs, log=said.append))
    assert sum("not made again" in line for line in said) == 2
    return table


def test_a_run_says_what_it_saw_and_cost(table):
    runs = one_row_per_run(table).set_index("patients")
    assert runs["training_patients"].tolist() == [4, 9]
    assert runs["held_out_patients"].tolist() == [4, 4]
    assert runs["samples_seen"].tolist() == [20, 20]
    assert runs.loc[4, "parameters"] == runs.loc[9, "parameters"] > 0
    assert (runs["training_operations"] == 5 * runs["step_operations"]).all()
    moments = [name for name in runs if name.startswith("loss_clip_at_")]
    assert len(moments) == MOMENTS + 1
    assert runs.loc[4, "loss_clip_at_0"] == runs.loc[9, "loss_clip_at_0"]
    assert runs.loc[4, "loss_clip"] != runs.loc[9, "loss_clip"]


def test_the_probe_has_the_same_patients_in_every_run(table):
    runs = one_row_per_run(table)
    (untrained,) = set(runs["probe_macro_auroc_untrained"])  # same weights, same patients
    assert 0 <= untrained <= 1
    assert runs["probe_macro_auroc"].notna().all()
    assert (runs["retrieval_recall_at_5_low"] <= runs["retrieval_recall_at_5"]).all()


def test_a_row_a_run_keeps_the_order_and_every_number():
    tidy = pd.DataFrame(
        [
            {
                "size": size,
                "run": f"run {size}",
                "score": score,
                "value": value,
                "low": low,
                "high": None,
            }
            for size, score, value, low in (
                *(("l", "loss", 1.0, None), ("l", "probe", 0.5, 0.4)),
                *(("a", "loss", 2.0, None), ("a", "probe", 0.6, 0.3)),
            )
        ]
    ).assign(high=None, n=4)
    wide = one_row_per_run(tidy)
    assert wide.columns.tolist() == ["size", "loss", "probe", "probe_low"]
    assert wide.values.tolist() == [["l", 1.0, 0.5, 0.4], ["a", 2.0, 0.6, 0.3]]
