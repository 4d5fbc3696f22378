"""Settings of a downstream run, in groups; each task may add a group of its own."""

from dataclasses import dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from mg3d.config.checks import Checked, OneOf, check_divides
from mg3d.config.settings import (
    OPTIMISERS,
    Amount,
    AugmentationSettings,
    Count,
    RunSettings,
    WholeAmount,
)


@dataclass(frozen=True, kw_only=True)
class TuningSettings(Checked):
    """Which parameters are trained, and on which patients."""

    tuning: Literal["full", "frozen", "lora"] = "full"  # encoder: trained, fixed, or by adapters
    lora_rank: Count = 8  # rank of the adapters
    lora_alpha: Count = 16  # their output is multiplied by lora_alpha / lora_rank
    num_patients: WholeAmount = 0  # training patients whose labels are used, drawn; 0: all
    permute_labels: bool = False  # control: deal the training labels to other cases


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(Checked):
    """Batch, optimiser and schedule of fine-tuning."""

    batch_size: Count = 8  # cases, over all processes, per optimiser step
    accumulation: Count = 1  # micro-batches the batch is split into on each process
    optimiser: Annotated[str, OneOf(OPTIMISERS)] = "adamw"  # or "adam" (L2)
    learning_rate: Amount = 1e-3  # of the head, at its highest
    encoder_factor: Amount = 0.1  # learning rate of the encoder, times that of the head
    weight_decay: Amount = 1e-2  # of weight matrices; none of biases and norms
    warmup_steps: WholeAmount = 10  # the learning rate rises linearly, from above 0
    decay: Literal["cosine", "linear", "constant"] = "cosine"  # after the warm-up
    total_steps: WholeAmount = 200  # optimiser steps; 0: the weights are evaluated as they are
    max_grad_norm: Amount = 1.0  # larger gradients are scaled down to this norm; 0: never

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self.batch_size, self.accumulation)


@dataclass(frozen=True, kw_only=True)
class TaskCompute(Checked):
    """Settings that change time and memory; they change results by rounding only."""

    precision: Literal["no", "fp16", "bf16"] = "no"  # of products; fp16 needs a GPU
    workers: WholeAmount = 0  # processes reading volumes; 0: this process
    predict_batch: Count = 16  # cases predicted at a time


@dataclass(frozen=True, kw_only=True)
class NoSettings(Checked):
    """A task without settings of its own."""


@dataclass(frozen=True, kw_only=True)
class TaskConfig(Checked):
    """One downstream run. `own` holds the settings that only this task has."""

    tuning: TuningSettings = field(default_factory=TuningSettings)
    finetune: FinetuneSettings = field(default_factory=FinetuneSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    compute: TaskCompute = field(default_factory=TaskCompute)
    run: RunSettings = field(
        default_factory=lambda: RunSettings(validate_every=100, save_every=100)
    )
    own: Checked = field(default_factory=NoSettings)


def change_task(config: TaskConfig, **settings: Any) -> TaskConfig:
    """A copy of a task's settings with some of them changed: `change_task(config, seed=1)`.

    Args:
        config: not modified.
        settings: by name, without the group.

    Raises:
        ValueError: if there is no setting of this name, or its value is invalid.
    """
    groups = {name: getattr(config, name) for name in (item.name for item in fields(config))}
    group_of = {item.name: name for name, group in groups.items() for item in fields(group)}
    unknown = sorted(settings.keys() - group_of.keys())
    if unknown:
        raise ValueError(
            f"there is no setting '{unknown[0]}' of this task; settings are {', '.join(group_of)}"
        )
    changed: dict[str, dict[str, Any]] = {}
    for name, value in settings.items():
        changed.setdefault(group_of[name], {})[name] = value
    return replace(config, **{n: replace(groups[n], **values) for n, values in changed.items()})
