"""Losses on held-out patients, always with the same hidden blocks and words.

The masks depend only on the position of the batch, so that losses of two models, or of one model at
two times, are comparable.
"""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch.utils.data import DataLoader

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch, collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.distributed import rank, world
from mg3d.modes import evaluating
from mg3d.text.encoder import TextEncoder
from mg3d.training.step import Pretraining, hide


def held_out_batches(
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    text: TextEncoder,
    device: torch.device | str,
    *,
    draw: int = 0,
) -> Iterator[Batch]:
    """Batches of held-out patients, masked as the active objectives need.

    Contrastive losses depend on the batch size, so a last batch that is not full is left out,
    unless it is the only one.

    Args:
        dataset: held-out patients.
        config: of the run.
        text: the frozen text encoder, which knows its special tokens.
        device: where batches go.
        draw: number of the mask; another number hides other blocks and words.
    """
    order = dataset.first_volumes
    size = min(config.optimisation.batch_size, len(order))
    whole = range(0, len(order) - size + 1, size)
    loader = DataLoader(
        dataset,
        batch_sampler=[order[start : start + size] for start in whole],
        collate_fn=collate(text.pad_token),
        num_workers=0,
    )
    for position, batch in enumerate(loader):
        generator = torch.Generator().manual_seed(position + draw * len(order))
        yield hide(batch, config, text, generator).to(device)


@torch.no_grad()
def held_out_losses(
    pretraining: Pretraining,
    dataset: VolumeReportDataset,
    config: PretrainConfig,
    device: torch.device | str,
    *,
    other_volume: bool = False,
) -> dict[str, float]:
    """Loss of each objective on held-out patients, mean over batches.

    With several processes, each batch is split among them as in training; all get the same numbers.

    Args:
        pretraining: the model and its objectives.
        dataset: held-out patients.
        config: of the run.
        device: where the model is.
        other_volume: pair each report with another patient's volume, as a control.

    Raises:
        ValueError: if there are fewer held-out patients than processes.
    """
    sums: dict[str, float] = {}
    count = 0
    text = pretraining.model.text_encoder
    with evaluating(pretraining):
        for batch in held_out_batches(dataset, config, text, device):
            shown = replace(batch, volume=batch.volume.roll(1, 0)) if other_volume else batch
            for name, loss in pretraining(_own_part(shown)).items():
                sums[name] = sums.get(name, 0.0) + float(loss)
            count += 1
    return {name: total / count for name, total in sums.items()}


def _own_part(batch: Batch) -> Batch:
    if len(batch) < world():
        raise ValueError(
            f"{len(batch)} held-out patients cannot be shared by {world()} processes; hold out at "
            "least one a process, or use fewer processes"
        )
    start, stop = (len(batch) * number // world() for number in (rank(), rank() + 1))
    return batch.part(start, stop)
