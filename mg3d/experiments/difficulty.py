"""How hard is the phantom? Supervised training of the same encoder, beside the untrained one.

`python -m mg3d.experiments.difficulty --data DIR --seconds 135` trains the preset's encoder on the
labels for as long as pre-training took, with the same batches and jitter, and prints one JSON line.
Both encoders, before and after, go through the protocols that pre-trained ones go through: linear
probe and report-to-volume retrieval with an alignment head, on held-out patients.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from mg3d.config import PretrainConfig, change, find_preset
from mg3d.data.augment import jitter_volume
from mg3d.data.dataset import VolumeReportDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.summary import evaluate, summarise
from mg3d.training.loop import load_patients
from mg3d.training.memory import keep_freed_memory
from mg3d.training.sampler import StepSampler
from mg3d.training.step import build_pretraining


def supervise(
    encoder: Encoder, train: VolumeReportDataset, config: PretrainConfig, seconds: float
) -> int:
    """Train an encoder on the labels, in place; how many steps it took."""
    optimisation = config.optimisation
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        head = nn.Linear(encoder.width, train.labels().shape[1])
    labels = torch.from_numpy(train.labels()).float()
    row_of = {row: patient for patient, rows in enumerate(train.volumes_of) for row in rows}
    jitter = config.augmentation
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=optimisation.weight_decay)
    generator = torch.Generator().manual_seed(config.run.seed)
    sampler = StepSampler(
        train.volumes_of,
        optimisation.batch_size,
        seed=config.run.seed,
        first_step=0,
        last_step=10**6,
    )
    start, steps = time.perf_counter(), 0
    for rows in sampler:
        spent = (time.perf_counter() - start) / seconds  # the rate falls with the time left
        if spent >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = optimisation.learning_rate * min(1.0, (steps + 1) / 50) * (1 - spent)
        volumes = torch.stack(
            [jitter_volume(train.load_volume(row), jitter, generator) for row in rows]
        )
        logits = head(encoder(volumes)[-1].flatten(2).mean(-1))
        target = labels[[row_of[row] for row in rows]]
        F.binary_cross_entropy_with_logits(logits, target).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        steps += 1
    return steps


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=135.0, help="of supervised training")
    arguments = parser.parse_args()
    keep_freed_memory()
    preset = find_preset(arguments.preset)
    config = change(preset, seed=arguments.seed, weights=preset.weights.without("clip"))
    pretraining = build_pretraining(config)
    train, val = load_patients(config, arguments.data, pretraining.model.text_encoder.tokenizer)
    before = evaluate(pretraining, train, val, seed=config.run.seed)
    steps = supervise(pretraining.model.encoder, train, config, arguments.seconds)
    after = evaluate(pretraining, train, val, seed=config.run.seed)
    line = {"seed": config.run.seed, "patients": len(train.patients), "steps": steps}
    line |= {"seconds": arguments.seconds, "threads": torch.get_num_threads()}
    print(json.dumps(line | summarise(after, before, seed=config.run.seed)))


if __name__ == "__main__":
    main()
