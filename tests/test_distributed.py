"""Two processes that each hold a part of the batch must agree with one that holds all of it.

Run as a script, this file is one of the two processes.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from mg3d.distributed import gather, gather_offset, gather_sizes, global_mean, rank, world

ROWS = (3, 2)  # of each process: the parts may differ in size


def whole_batch():
    return torch.randn(sum(ROWS), 4, generator=torch.Generator().manual_seed(0))


def fresh_layer():
    layer = torch.nn.Linear(4, 3)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(1)
        for parameter in layer.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return layer


def contrast(features):
    """Every row against every other row: a loss that no part of the batch can know alone."""
    logits = features @ features.T
    return torch.nn.functional.cross_entropy(logits, torch.arange(len(features)))


def positive_terms(features):
    terms = features[features > 0].square()  # how many there are differs between processes
    return terms.sum(), len(terms)


def losses_and_gradients(batch):
    results = {}
    for name in ("contrast", "mean"):
        layer = fresh_layer()
        features = layer(batch)
        if name == "contrast":
            loss = contrast(gather(features))
        else:
            loss = global_mean(*positive_terms(features))
        loss.backward()
        for parameter in layer.parameters():
            if world() > 1:  # as DistributedDataParallel does
                dist.all_reduce(parameter.grad)
                parameter.grad /= world()
        results[name] = (loss.detach(), [p.grad for p in layer.parameters()])
    return results


def be_one_process(number, meeting_point, output):
    dist.init_process_group(
        "gloo", init_method=f"file://{meeting_point}", rank=number, world_size=len(ROWS)
    )
    batch = whole_batch()
    start = sum(ROWS[:number])
    part = batch[start : start + ROWS[number]]
    results = losses_and_gradients(part)
    results["rows"] = gather(part)
    results["sizes"] = gather_sizes(part)
    results["offset"] = gather_offset(part)
    results["scalars"] = gather(torch.tensor([number]))
    results["nothing"] = global_mean(torch.tensor(0.0), 0)
    results["rank"], results["world"] = rank(), world()
    torch.save(results, output)
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def both(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("processes")
    outputs = [folder / f"{number}.pt" for number in range(len(ROWS))]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(number), folder / "meeting_point", output],
            env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        )
        for number, output in enumerate(outputs)
    ]
    try:
        assert [process.wait(timeout=60) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    return [torch.load(output, weights_only=True) for output in outputs]


@pytest.mark.parametrize("name", ["contrast", "mean"])
def test_two_processes_give_the_loss_and_gradient_of_one(both, name):
    loss, gradients = losses_and_gradients(whole_batch())[name]
    for results in both:
        torch.testing.assert_close(results[name][0], loss)
        torch.testing.assert_close(results[name][1], gradients)


def test_rows_are_gathered_in_the_order_of_ranks(both):
    for number, results in enumerate(both):
        torch.testing.assert_close(results["rows"], whole_batch())
        assert results["scalars"].tolist() == [0, 1]
        assert results["sizes"] == list(ROWS)
        assert results["offset"] == sum(ROWS[:number])
        assert (results["rank"], results["world"]) == (number, len(ROWS))


def test_the_mean_of_nothing_is_0(both):
    assert [results["nothing"].item() for results in both] == [0.0, 0.0]


def test_one_process_gathers_nothing():
    batch = whole_batch()
    assert gather(batch) is batch
    assert (rank(), world(), gather_offset(batch), gather_sizes(batch)) == (0, 1, 0, [5])
    assert global_mean(torch.tensor(6.0), 4).item() == 1.5
    assert global_mean(torch.tensor(6.0), torch.tensor(4)).item() == 1.5


if __name__ == "__main__":
    be_one_process(int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
