import json
import subprocess
import sys
from argparse import Namespace

import pytest
import torch

from benchmarks.card import shares
from benchmarks.made_up import make_batch, write_bert
from benchmarks.step import jobs, make_state
from mg3d.text.encoder import load_text_encoder

PARTS = {
    *("encoder, whole", "encoder, masked", "text encoder", "fusion", "MIM decoder", "MLM head"),
    *("other objectives", "backward", "optimiser", "rest"),
}


def asked(**changed):
    defaults = {
        **{"device": "cpu", "preset": "paper", "batch": [1, 2, 4], "precision": "no"},
        **{"checkpointing": "default", "compile": "no", "repeats": 1, "warm_up": 0, "toy": False},
        "activation_batch": [0],
    }
    return Namespace(**{**defaults, **changed})


def test_by_default_three_batches_are_measured_and_two_of_them_recomputing():
    measured = [(job["batch"], job["checkpointing"]) for job in jobs(asked())]
    assert measured == [(1, False), (2, False), (4, False), (1, True), (2, True)]


def test_a_gpu_is_asked_for_every_combination():
    measured = list(jobs(asked(device="cuda", compile="both", precision="bf16", batch=[4, 16])))
    assert len(measured) == 8
    assert {job["precision"] for job in measured} == {"bf16"}


@pytest.mark.parametrize("checkpointing", ["no", pytest.param("yes", marks=pytest.mark.thorough)])
def test_a_toy_step_prints_one_json_line_with_every_part(repository, checkpointing):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.step", "--toy", "--preset", "tiny"),
            *("--batch", "2", "--checkpointing", checkpointing, "--threads", "1"),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert set(line["seconds_by_part"]) == PARTS
    assert sum(line["seconds_by_part"].values()) == pytest.approx(line["seconds"], rel=0.01)
    assert line["checkpointing"] == (checkpointing == "yes")
    if line["peak_gib_by_part"]:  # on Linux
        assert line["held_gib"] < line["peak_gib"]
        assert max(line["peak_gib_by_part"].values()) <= line["peak_gib"]


def test_a_measurement_that_fails_is_told_with_its_last_line(repository):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks.step", "--toy", "--preset", "tiny"),
            *("--batch", "0", "--threads", "1"),
        ],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "must end with status 0" in done.stderr
    assert "batch_size is a whole number (at least 1), got 0" in done.stderr


def test_the_made_up_text_encoder_is_a_real_one_of_the_published_vocabulary(tmp_path, config):
    write_bert(tmp_path, width=64, layers=1)
    text = load_text_encoder(tmp_path)
    assert (text.width, text.vocabulary_size) == (64, 28_996)
    batch = make_batch(config, text.tokenizer, 3, sentences=7)
    assert batch.tokens.shape == (3, config.network.max_tokens)
    assert batch.sentence_padding.shape == (3, 7) and not batch.padding.any()
    assert not (batch.tokens == text.tokenizer.unk_token_id).any()
    again = make_batch(config, text.tokenizer, 3, sentences=7)
    other = make_batch(config, text.tokenizer, 3, sentences=7, seed=1)
    assert batch.tokens.equal(again.tokens) and not batch.tokens.equal(other.tokens)


def test_the_optimiser_has_its_state_and_the_weights_did_not_move():
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.Adam([weight])
    make_state(optimiser)
    assert weight.tolist() == [1, 1, 1] and weight.grad is None
    assert set(optimiser.state[weight]) == {"step", "exp_avg", "exp_avg_sq"}


def test_operations_are_counted_by_hand():
    weight = torch.randn(8, 16, requires_grad=True)
    rates = shares(
        lambda: (torch.randn(4, 8) @ weight).sum(), 128, 2.0, "cpu", torch.float32, size=64
    )
    operations = 2 * 4 * 8 * 16 * 2  # forward, and the weight's gradient
    assert rates["tflops"] == pytest.approx(operations / 2 / 1e12)
    assert rates["share_of_matrix_rate"] == pytest.approx(
        rates["tflops"] / rates["attainable_tflops"]
    )
    moved = 10 * 4 * 128 / 2 / 1e9
    assert rates["least_share_of_bandwidth"] == pytest.approx(
        moved / rates["attainable_gb_per_second"]
    )
