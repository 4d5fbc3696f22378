"""How hard is the phantom? Supervised training of the same encoder, beside the untrained probe.

`python -m benchmarks.difficulty --data DIR --seconds 135` trains the preset's encoder on the labels
for as long as pre-training took, with the same batches and jitter, and prints one JSON line: macro
AUROC of held-out patients, of the linear probe on the untrained encoder and of the supervised one.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mg3d.config import PretrainConfig, find_preset
from mg3d.data.augment import Jitter, jitter_volume
from mg3d.data.dataset import VolumeReportDataset
from mg3d.encoders import build_encoder
from mg3d.evaluation.probe import Probe, linear_probe, score_findings
from mg3d.text.encoder import load_text_encoder
from mg3d.training.loop import load_patients
from mg3d.training.memory import keep_freed_memory
from mg3d.training.sampler import StepSampler


@torch.no_grad()
def encode(encoder: nn.Module, dataset: VolumeReportDataset) -> Tensor:
    """Mean over the tokens of every patient's first volume."""
    rows = []
    for part in torch.tensor(dataset.first_volumes).split(64):
        volumes = torch.stack([dataset.load_volume(int(row)) for row in part])
        rows.append(encoder(volumes)[-1].flatten(2).mean(-1))
    return torch.cat(rows)


def supervise(
    config: PretrainConfig, train: VolumeReportDataset, val: VolumeReportDataset, seconds: float
) -> tuple[Probe, Probe, int]:
    """Probe of the untrained encoder, scores of the supervised one, and its steps."""
    torch.manual_seed(config.seed)
    encoder = build_encoder(config.encoder, **config.encoder_settings)
    head = nn.Linear(encoder.width, train.labels().shape[1])
    untrained = linear_probe(
        encode(encoder, train).numpy(), train.labels(), encode(encoder, val).numpy(), val.labels()
    )
    labels = torch.from_numpy(train.labels()).float()
    row_of = {row: patient for patient, rows in enumerate(train.volumes_of) for row in rows}
    jitter = Jitter(
        shift=config.jitter_shift,
        contrast=config.jitter_contrast,
        brightness=config.jitter_brightness,
        noise=config.jitter_noise,
    )
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, weight_decay=config.weight_decay)
    generator = torch.Generator().manual_seed(config.seed)
    sampler = StepSampler(
        train.volumes_of, config.batch_size, seed=config.seed, first_step=0, last_step=10**6
    )
    start, steps = time.perf_counter(), 0
    for rows in sampler:
        spent = (time.perf_counter() - start) / seconds  # the rate falls with the time left
        if spent >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * min(1.0, (steps + 1) / 50) * (1 - spent)
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
    with torch.no_grad():
        scores = head(encode(encoder, val)).numpy()
    return untrained, score_findings(val.labels(), scores), steps


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seconds", type=float, default=135.0, help="of supervised training")
    arguments = parser.parse_args()
    keep_freed_memory()
    config = find_preset(arguments.preset)
    tokenizer = load_text_encoder(config.text_encoder).tokenizer
    train, val = load_patients(config, arguments.data, tokenizer)
    untrained, supervised, steps = supervise(config, train, val, arguments.seconds)
    line = {"seed": config.seed, "patients": len(train.patients), "steps": steps}
    line |= {"seconds": arguments.seconds, "threads": torch.get_num_threads()}
    for name, probe in (("untrained", untrained), ("supervised", supervised)):
        line[name] = str(probe.macro)
        line[f"{name}_per_finding"] = {k: round(v, 3) for k, v in probe.per_finding.items()}
    print(json.dumps(line))


if __name__ == "__main__":
    main()
