import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

import mg3d
from mg3d.config import change, read_config
from mg3d.data.manifest import read_manifest
from mg3d.objectives.mim import MIM
from mg3d.training.loop import pretrain
from mg3d.training.step import build_pretraining


@pytest.fixture
def train(prepared, text_encoder, tmp_path):
    """Train into a folder of that name; quiet."""

    def run(config, name="run", **options):
        return pretrain(
            config,
            options.pop("data", prepared),
            tmp_path / name,
            pretraining=build_pretraining(config, text_encoder),
            progress=False,
            log=options.pop("log", lambda _: None),
            **options,
        )

    return run


def weights_of(run):
    return {name: value.clone() for name, value in run.pretraining.state_dict().items()}


def without_seconds(run):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in run.history.rows]


def test_a_stopped_and_continued_run_equals_the_uninterrupted_one(train, config):
    whole = train(config, "whole")
    train(config, "parts", stop_after=2)
    parts = train(config, "parts", resume=True)
    assert weights_of(parts).keys() == weights_of(whole).keys()
    for name, value in weights_of(whole).items():
        assert torch.equal(value, weights_of(parts)[name]), name
    kept = [row for row in without_seconds(parts) if row["step"] != 2]
    assert kept == [row for row in without_seconds(whole) if row["step"] != 2]
    assert parts.final == whole.final
    assert parts.initial == whole.initial


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not(train, config):
    first, again = train(config, "first"), train(config, "again")
    other = train(change(config, seed=1), "other")
    assert without_seconds(first) == without_seconds(again)
    assert without_seconds(first) != without_seconds(other)


def test_training_lowers_the_loss_it_trains(train, config):
    config = change(config, weights=config.weights.only("mim"), total_steps=30, warmup_steps=2)
    run = train(config)
    assert run.final["mim"] < 0.8 * run.initial["mim"]


def test_an_objective_of_weight_0_leaves_no_trace(train, config, tmp_path):
    run = train(change(config, weights=config.weights.only("clip")))
    assert set(run.final) == {"clip"}
    assert list(run.pretraining.objectives) == ["clip"]
    header = (tmp_path / "run" / "history.csv").read_text().splitlines()[0]
    assert header == "step,seconds,learning_rate,total,clip,val_clip"


def test_accumulation_splits_the_batch_and_mim_does_not_notice(train, config):
    config = change(config, weights=config.weights.only("cml"), total_steps=1)
    assert (
        train(change(config, accumulation=2), "two").history.rows[1]["cml"]
        < train(config, "one").history.rows[1]["cml"]
    )  # fewer patients to be taken for one another


def test_bf16_recomputing_and_accumulating_stay_close_to_a_plain_run(train, config):
    # Tokens on a grid of 4^3: oneDNN's gradient of a bf16 convolution over 2^3 places is garbage.
    config = change(config, encoder_settings={"channels": (4, 8, 8)})
    config = change(config, weights=config.weights.only("mim"))
    plain = train(config, "plain")
    coarse = change(config, precision="bf16", activation_checkpointing=True, accumulation=2)
    run = train(coarse, "bf16")
    for row, expected in zip(run.history.rows[1:], plain.history.rows[1:], strict=True):
        assert row["mim"] != expected["mim"]  # eight bits of mantissa were used
        assert row["mim"] == pytest.approx(expected["mim"], rel=0.02)
    assert all(value.dtype == torch.float32 for value in weights_of(run).values())


def test_the_run_folder_says_everything(train, config, tmp_path):
    train(config)
    assert read_config(tmp_path / "run" / "config.json").weights == config.weights
    names = {path.name for path in (tmp_path / "run" / "checkpoint").iterdir()}
    assert names == {"model.safetensors", "optimiser.safetensors", "state.json"}
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["step"] == config.optimisation.total_steps


def test_the_text_encoder_is_not_trained_and_not_saved(train, config, text_encoder):
    before = {name: value.clone() for name, value in text_encoder.state_dict().items()}
    run = train(config)
    assert all(
        torch.equal(value, before[name]) for name, value in text_encoder.state_dict().items()
    )
    assert not any("embeddings" in name for name in run.pretraining.state_dict())


def test_every_parameter_of_the_model_learns_from_the_whole_loss(config, prepared, text_encoder):
    from mg3d.training.heldout import held_out_batches
    from mg3d.training.losses import weigh
    from mg3d.training.patients import load_patients

    pretraining = build_pretraining(config, text_encoder)
    _, val = load_patients(config, prepared, text_encoder.tokenizer)
    batch = next(held_out_batches(val, config, text_encoder, "cpu"))
    weigh(pretraining(batch), config.weights.active()).backward()
    silent = [n for n, p in pretraining.named_parameters() if p.grad is None and p.requires_grad]
    # The last word-fusion layer's volume side is read by nobody, as in the released code.
    assert all(name.startswith("model.word_fusion.layers.1.") for name in silent), silent


def test_a_folder_with_a_run_is_not_overwritten_by_accident(train, config):
    train(config, stop_after=1)
    with pytest.raises(FileExistsError, match="resume=True"):
        train(config)
    assert train(config, overwrite=True).steps == config.optimisation.total_steps


def test_fewer_patients_than_a_batch_make_a_smaller_batch_and_say_so(train, config):
    said = []
    run = train(change(config, batch_size=16), log=said.append)
    assert run.config.optimisation.batch_size == 9
    assert "9 patients per process, 9 per step" in said[0]
    assert "batch_size 16 -> 9: there are 9 training patients" in said


def test_a_run_says_at_its_start_how_much_of_the_reports_it_does_not_read_row_r4(train, config):
    said = []
    run = train(change(config, max_tokens=40), log=said.append, stop_after=1)
    left_out = run.train.left_out + run.val.left_out
    patients = len(run.train.patients) + len(run.val.patients)
    assert said[1] == str(left_out)
    assert said[1].startswith(f"reports: {patients} of {patients} are longer than max_tokens 40")
    kept = train(change(config, max_tokens=40, report_cut="keep_impression"), "kept", stop_after=1)
    assert left_out.impressions_lost > 0 == kept.train.left_out.impressions_lost


def test_one_training_and_one_held_out_patient_are_enough_to_run(
    train, config, tmp_path, write_patients
):
    folder = tmp_path / "two"
    folder.mkdir()
    run = train(config, data=write_patients(folder, ["train", "val"]))
    assert not {"cml", "dfa", "ssm", "clip"} & run.final.keys()  # nobody to be taken for


def test_a_missing_split_is_named(train, config, tmp_path, write_patients):
    folder = tmp_path / "one"
    folder.mkdir()
    with pytest.raises(ValueError, match="no volume in split 'val'"):
        train(config, data=write_patients(folder, ["train"] * 4))


def test_another_grid_than_the_models_is_named(train, config):
    config = change(config, volume_shape=(64, 32, 32))
    with pytest.raises(ValueError, match=r"\(32, 32, 32\) instead of \(64, 32, 32\)"):
        train(config)


def test_fp16_without_a_gpu_is_refused(train, config):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ValueError, match="needs a GPU"):
        train(change(config, precision="fp16"))


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_checkpoint(
    train, config, prepared, tmp_path
):
    config = change(config, learning_rate=1e30, save_every=1)
    with pytest.raises(FloatingPointError, match=r"mim = (nan|inf).* in step 2, from") as error:
        train(config)
    named = re.search("from (.*); lower", str(error.value))[1].split(", ")
    assert len(named) == config.optimisation.batch_size
    assert set(named) <= set(read_manifest(prepared).rows["patient_id"])
    state = json.loads((tmp_path / "run" / "checkpoint" / "state.json").read_text())
    assert state["step"] == 1


def test_objectives_see_the_training_patients_once_and_not_when_a_run_goes_on(
    train, config, monkeypatch
):
    seen = []
    monkeypatch.setattr(MIM, "start", lambda self, known: seen.append(known.mean_volume.shape))
    config = change(config, weights=config.weights.only("mim"))
    train(config, stop_after=2)
    assert seen == [(1, 32, 32, 32)]
    train(config, resume=True)
    assert len(seen) == 1


def test_objectives_that_compare_patients_are_left_out_of_batches_of_one_and_it_is_said(
    train, config
):
    said = []
    run = train(change(config, batch_size=2, accumulation=2), log=said.append)
    row = run.history.rows[1]
    assert {"cml", "dfa", "ssm", "clip"} & config.weights.active().keys()
    assert not {"cml", "dfa", "ssm", "clip"} & row.keys()
    left_out = [line for line in said if line.startswith("left out: ")]
    assert left_out[0].endswith("a micro-batch (batch_size 2 / accumulation 2) has 1")
    only = change(config, batch_size=1, weights=config.weights.only("cml"))
    with pytest.raises(ValueError, match=r"cml compare patients .* take a larger batch_size"):
        train(only, "only")


def test_a_run_goes_on_with_the_data_it_began_with_wherever_the_folder_is(
    train, config, prepared, tmp_path
):
    shutil.copytree(prepared, tmp_path / "moved")
    train(config, stop_after=1)
    assert (
        train(config, resume=True, data=tmp_path / "moved").steps == config.optimisation.total_steps
    )
    table = tmp_path / "moved" / "manifest.csv"
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows["findings"] = np.roll(rows["findings"], 1)
    rows.to_csv(table, index=False)
    train(config, "other", stop_after=1)
    with pytest.raises(ValueError, match="was trained on other data"):
        train(config, "other", resume=True, data=tmp_path / "moved")


def test_reports_in_a_script_that_the_text_encoder_cannot_read_are_said(
    train, config, prepared, tmp_path
):
    shutil.copytree(prepared, tmp_path / "russian")
    table = tmp_path / "russian" / "manifest.csv"
    rows = pd.read_csv(table, dtype=str, keep_default_na=False)
    rows["findings"], rows["impression"] = "Выпота нет.", "Норма."
    rows.to_csv(table, index=False)
    said = []
    train(config, data=tmp_path / "russian", stop_after=1, log=said.append)
    patients = sum(rows["split"] == "train")
    assert f"reports: {3 * patients} of {5 * patients} tokens are unknown" in "\n".join(said)
    said.clear()
    train(config, "own", stop_after=1, log=said.append)
    assert "unknown" not in "\n".join(said)


def test_the_best_checkpoint_is_that_of_the_smallest_weighted_held_out_total(
    train, config, tmp_path
):
    config = change(config, keep_best=True, validate_every=1)
    run = train(config)
    weights = config.weights.active()
    measured = [row for row in run.history.rows if row["step"] and "val_mlm" in row]
    totals = {
        row["step"]: sum(weight * row[f"val_{name}"] for name, weight in weights.items())
        for row in measured
    }
    state = json.loads((tmp_path / "run" / "best" / "state.json").read_text())
    best = min(totals, key=totals.get)
    assert len(totals) > 1 and (state["step"], state["held_out"]) == (best, totals[best])
    assert mg3d.load_pretrained(tmp_path / "run" / "best")
