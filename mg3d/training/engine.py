"""One step of any training on this process's device: losses, gradient, optimiser."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from mg3d.training.checkpoint import Progress
from mg3d.training.devices import Devices
from mg3d.training.losses import check_losses, check_taught, weigh
from mg3d.training.optimiser import set_rate
from mg3d.training.seeds import random_of_step
from mg3d.training.suspects import patients_of

Item = TypeVar("Item")
Step = Callable[[nn.Module, Item], Mapping[str, Tensor]]


class Engine(Generic[Item]):
    """Takes optimiser steps. Wraps the module for distributed training when created.

    Args:
        module: all trained parameters.
        step: computes losses by name from the module and one batch.
        optimiser: of the module's parameters.
        devices: of the run.
        weights: weight of each loss in the total; None: 1 each.
        max_grad_norm: gradients are clipped to this norm; 0: no clipping.
        seed: of random numbers drawn by layers (dropout).
    """

    def __init__(
        self,
        module: nn.Module,
        step: Step[Item],
        optimiser: torch.optim.Optimizer,
        devices: Devices,
        weights: Mapping[str, float] | None = None,
        *,
        max_grad_norm: float = 0.0,
        seed: int = 0,
    ):
        self.module, self.step, self.optimiser, self.devices = module, step, optimiser, devices
        self.weights, self.max_grad_norm, self.seed = weights, max_grad_norm, seed
        self.skipped = 0  # optimiser steps, where fp16 gradients overflowed
        self.suspects: list[str] = []  # of the last step: patients of batches with a loss of NaN
        self.wrapped, self.stepper = devices.accelerator.prepare(module, optimiser)

    def take_step(self, number: int, batches: Iterator[Item]) -> dict[str, float]:
        """Take one optimiser step; returns the mean of each loss over its micro-batches.

        Args:
            number: of the step, from 0.
            batches: yields `devices.accumulation` micro-batches per step.

        Raises:
            ValueError: if it yields fewer, or a loss cannot be learned from; see `losses`.
        """
        from accelerate.utils import send_to_device

        accelerator, parts = self.devices.accelerator, self.devices.accumulation
        self.devices.hold()
        self.suspects = []
        means: dict[str, float] = {}
        for part in range(parts):
            batch = send_to_device(_next(batches, number), self.devices.device)
            draw = self.devices.rank * parts + part
            # Gradients of micro-batches accumulate; accelerate lets the optimiser step only after
            # the last one.
            with (
                accelerator.accumulate(self.wrapped),
                random_of_step(self.seed, number, draw, self.devices.device),
            ):
                with accelerator.autocast():
                    terms = self.step(self.wrapped, batch)
                    check_losses(terms)
                    total = weigh(terms, self._weights(terms))
                check_taught(terms, self._weights(terms), total)
                accelerator.backward(total)
                if self.max_grad_norm and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(self.wrapped.parameters(), self.max_grad_norm)
                self.stepper.step()
                self.stepper.zero_grad()
            values = {name: float(term.detach()) for name, term in terms.items()}
            if not all(map(math.isfinite, self.taught(values).values())):
                self.suspects += patients_of(batch)
            for name, value in values.items():
                means[name] = means.get(name, 0.0) + value / parts
        assert accelerator.sync_gradients, "the optimiser has not moved after the last micro-batch"
        self.skipped += self.stepper.step_was_skipped
        return means

    def total(self, losses: Mapping[str, float]) -> float:
        """The weighted total of a step's losses."""
        weights = self._weights(losses)
        return sum(weights[name] * value for name, value in losses.items() if name in weights)

    def taught(self, losses: Mapping[str, float]) -> dict[str, float]:
        """The losses that have a weight; the others are only recorded."""
        weights = self._weights(losses)
        return {name: value for name, value in losses.items() if name in weights}

    def set_rate(self, rate: float | None) -> float:
        """Set the learning rate (None: keep it); returns the rate of a group with factor 1."""
        if rate is not None:
            set_rate(self.optimiser, rate)
            return rate
        first = self.optimiser.param_groups[0]
        return float(first["lr"]) / first.get("factor", 1.0)

    def scaler(self) -> dict[str, Any]:
        """State of fp16's gradient scaler, for a checkpoint; empty in other precisions."""
        scaler = self.devices.accelerator.scaler
        return dict(scaler.state_dict()) if scaler is not None else {}

    def restore(self, progress: Progress) -> None:
        """Load the state of fp16's gradient scaler from a checkpoint."""
        if progress.scaler and self.devices.accelerator.scaler is not None:
            self.devices.accelerator.scaler.load_state_dict(dict(progress.scaler))

    def release(self) -> None:
        """Remove accelerate's wrapper and mixed precision from the module."""
        self.devices.accelerator.wait_for_everyone()
        self.devices.accelerator.unwrap_model(self.wrapped, keep_fp32_wrapper=False)

    def _weights(self, terms: Mapping[str, object]) -> Mapping[str, float]:
        return dict.fromkeys(terms, 1.0) if self.weights is None else self.weights


def _next(batches: Iterator[Item], number: int) -> Item:
    try:
        return next(batches)
    except StopIteration:
        raise ValueError(
            f"the batches ended before step {number + 1}; yield `accumulation` of them per step of "
            "the requested range"
        ) from None
