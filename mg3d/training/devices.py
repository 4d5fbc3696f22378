"""Processes, device and precision of a run.

`accelerate` detects them: one process, several GPUs of one machine or several machines, started
from a shell (torchrun, accelerate launch) or from a notebook (`accelerate.notebook_launcher`).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from mg3d.training.environment import WORLD_SIZES, check_environment
from mg3d.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Devices:
    """Processes, device and precision of a run, as seen by this process; see `start_devices`."""

    accelerator: "Accelerator"
    precision: str  # "no", "fp16" or "bf16"
    accumulation: int  # micro-batches of every process per step

    @property
    def device(self) -> torch.device:
        """Device of this process."""
        return self.accelerator.device

    @property
    def world(self) -> int:
        """Number of processes."""
        return self.accelerator.num_processes

    @property
    def rank(self) -> int:
        """Rank of this process, 0 to world - 1."""
        return self.accelerator.process_index

    @property
    def is_main(self) -> bool:
        """Whether this process writes the run folder and prints."""
        return self.accelerator.is_main_process

    def hold(self) -> None:
        """Set accelerate's global state, which all runs of a process share, for this run.

        Raises:
            RuntimeError: if another run with another precision was started in this process since.
        """
        self.accelerator.gradient_accumulation_steps = self.accumulation
        if self.accelerator.mixed_precision != self.precision:
            raise RuntimeError(
                f"this run computes in precision '{self.precision}', but devices were started "
                f"again with '{self.accelerator.mixed_precision}' since; finish one run before "
                "starting the next"
            )

    def describe(self, batch_size: int | None, folder: Path | None) -> str:
        """The first line of a run.

        Args:
            batch_size: patients per step, over all processes; None: unknown.
            folder: that the run writes to; None: nothing is written.
        """
        number = f"{self.world} process" + ("es" if self.world > 1 else "")
        kind = self.device.type if self.world > 1 else str(self.device)
        if self.device.type == "cpu":
            threads = torch.get_num_threads()
            kind += f" ({threads} thread{'s' if threads > 1 else ''} each)"
        parts = [f"{number} on {kind}", f"precision {self.precision}"]
        if batch_size is not None:
            share = f"{batch_size // self.world} patients per process"
            if self.accumulation > 1:
                share += f" in {self.accumulation} micro-batches"
            parts.append(f"{share}, {batch_size} per step")
        parts.append(f"writes to {folder}" if folder else "writes nothing")
        return ", ".join(parts)


def start_devices(*, precision: str = "no", accumulation: int = 1) -> Devices:
    """Find the devices of this run and join its processes.

    Args:
        precision: "no" (float32), "fp16" or "bf16".
        accumulation: micro-batches of every process per optimiser step.

    Raises:
        ValueError: if the precision needs another device, if an environment variable contradicts
            the arguments, or if several processes were requested but only one was started.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs, GradientAccumulationPlugin

    if precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("precision 'fp16' needs a GPU; choose 'bf16' or 'no' on a CPU")
    check_environment(os.environ, precision=precision, accumulation=accumulation)
    several = any(int(os.environ.get(name) or 1) > 1 for name in WORLD_SIZES)
    AcceleratorState._reset_state()  # otherwise a second run keeps the precision of the first
    accelerator = Accelerator(
        # accelerate needs cpu=True to join several processes without a GPU.
        cpu=several and not torch.accelerator.is_available(),
        mixed_precision=precision,
        # As a plugin: the plain number would be overruled by an environment variable.
        gradient_accumulation_plugin=GradientAccumulationPlugin(num_steps=accumulation),
        # MG-3D's last word fusion has a volume side unused by any loss: it gets no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    return Devices(accelerator, precision, accumulation)
