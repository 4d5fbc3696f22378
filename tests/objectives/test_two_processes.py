"""Every objective on two processes must agree with one process that holds the whole batch.

Run as a script, this file is one of the two processes.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from made_up import patients_with, reorder

from mg3d.objectives import OBJECTIVES
from mg3d.objectives.ssm import SSM
from mg3d.objectives.ssm_blocks import blocked_ssm_loss


class SSMByBlocks(SSM):
    """SSM as it is computed for batches of many sentences."""

    def forward(self, features, batch):
        return blocked_ssm_loss(*self.sentences(features, batch), pairs_at_once=20)


LOSSES = {**OBJECTIVES, "ssm by blocks": SSMByBlocks}
SENTENCES = (3, 1, 2, 4)
PARTS = ([0, 1], [2, 3])  # patients of each process; their longest reports differ
SETTINGS = {
    "mim": {"token_stride": 8},
    "mlm": {"vocabulary_size": 30},
    "sfr": {"text_dim": 12},
    "clip": {"learnable": True},
}
FEATURES = (
    *("volume_vector", "report_vector", "fused_volume_vector", "fused_report_vector"),
    *("informed_sentences", "aggregate", "filled_visual_tokens", "repaired_words"),
)


def without_unused_padding(features, batch):
    """What collate would have made of these patients alone: no longer than the longest report."""
    K = int((~batch.sentence_padding).sum(1).max())
    T = int((~batch.padding).sum(1).max())
    cut = {name: getattr(features, name)[:, :K] for name in
           ("sentence_tokens", "informed_sentences", "embedded_sentences", "identity")}  # fmt: skip
    features = replace(features, repaired_words=features.repaired_words[:, :T], **cut)
    words = {name: getattr(batch, name)[:, :T] for name in
             ("tokens", "padding", "sentence", "word", "word_mask", "hidden_tokens")}  # fmt: skip
    return features, replace(batch, sentence_padding=batch.sentence_padding[:, :K], **words)


def losses_and_gradients(part):
    results = {}
    for name, kind in LOSSES.items():
        features, batch = patients_with(SENTENCES)
        torch.manual_seed(1)
        objective = kind(dim=16, **SETTINGS.get(name, {}))
        loss = objective(*without_unused_padding(*reorder(features, batch, part)))
        loss.backward()
        for parameter in objective.parameters():
            if dist.is_initialized():  # as DistributedDataParallel does
                dist.all_reduce(parameter.grad)
                parameter.grad /= dist.get_world_size()
        results[name] = {
            "loss": loss.detach(),
            "parameters": {n: p.grad for n, p in objective.named_parameters()},
            "features": {n: getattr(features, n).grad for n in FEATURES},
        }
    return results


def be_one_process(number, meeting_point, output):
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=number, world_size=len(PARTS)
    )
    torch.save(losses_and_gradients(PARTS[number]), output)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("processes")
    outputs = [folder / f"{number}.pt" for number in range(len(PARTS))]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(number), folder / "meeting_point", output],
            env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        )
        for number, output in enumerate(outputs)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(output, weights_only=True) for output in outputs]


@pytest.fixture(scope="module")
def whole():
    with torch.random.fork_rng(devices=[]):
        return losses_and_gradients([0, 1, 2, 3])


@pytest.mark.parametrize("name", LOSSES)
def test_two_processes_give_the_loss_and_gradients_of_one(both, whole, name):
    expected = whole[name]
    for results in both:
        torch.testing.assert_close(results[name]["loss"], expected["loss"])
        for parameter, gradient in expected["parameters"].items():
            torch.testing.assert_close(
                results[name]["parameters"][parameter], gradient, atol=1e-5, rtol=1e-4
            )


@pytest.mark.parametrize("name", LOSSES)
def test_each_process_gets_the_gradients_of_its_own_patients(both, whole, name):
    reached = {n: g for n, g in whole[name]["features"].items() if g is not None}
    assert reached
    for results, part in zip(both, PARTS, strict=True):
        for feature, gradient in reached.items():
            own = results[name]["features"][feature] / len(PARTS)  # the averaging comes later
            torch.testing.assert_close(own[part], gradient[part], atol=1e-6, rtol=1e-4)


if __name__ == "__main__":
    be_one_process(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
