"""Repeat the step: devices, precision, held-out losses, history, stop and continue.

Every random number of step `s` is drawn from `(seed, s)`, so a run that was stopped and continued
equals one that was not, number for number on a CPU.
"""

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from mg3d.config import PretrainConfig, change, write_config
from mg3d.data.batch import collate
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.form import PreparedForm
from mg3d.objectives.mim import MIM
from mg3d.training.checkpoint import find_checkpoint, load_checkpoint, save_checkpoint
from mg3d.training.heldout import held_out_losses
from mg3d.training.history import History
from mg3d.training.memory import keep_freed_memory
from mg3d.training.optimiser import build_optimiser, set_learning_rate
from mg3d.training.sampler import StepSampler
from mg3d.training.step import Pretraining, build_pretraining, hide, weigh


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) pre-training run."""

    pretraining: Pretraining
    config: PretrainConfig  # as it was run
    history: History
    train: VolumeReportDataset
    val: VolumeReportDataset
    steps: int
    seconds: float  # of training, over all its parts
    initial: dict[str, float]  # held-out losses before the first step
    final: dict[str, float]  # held-out losses after the last step


def load_patients(
    config: PretrainConfig, folder: Path, tokenizer: object
) -> tuple[VolumeReportDataset, VolumeReportDataset]:
    """Training and held-out patients of a prepared folder, on the run's grid.

    Raises:
        ValueError: if the data were prepared on another grid, or over another HU window.
    """
    grid = config.grid
    expected = PreparedForm.of_grid(grid.volume_shape, grid.spacing_mm, grid.crop, grid.hu_window)
    train, val = (
        VolumeReportDataset(
            folder,
            split,
            tokenizer,
            max_tokens=config.network.max_tokens,
            volume_shape=grid.volume_shape,
            expected=expected,
            report_cut=config.network.report_cut,
            text_encoder=config.network.text_encoder,
        )
        for split in ("train", "val")
    )
    return train, val


def pretrain(
    config: PretrainConfig,
    data_dir: Path,
    output_dir: Path,
    *,
    pretraining: Pretraining | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stop_after: int | None = None,
    progress: bool | None = None,
    log: Callable[[str], None] = print,
) -> Run:
    """Pre-train on a prepared folder; write config, history and checkpoint to `output_dir`.

    Args:
        config: settings of the run. A batch larger than the number of patients is made smaller,
            and `log` says so.
        data_dir: prepared folder with patients in the splits "train" and "val".
        output_dir: gets `config.json`, `history.csv` and `checkpoint/`.
        pretraining: start from this instead of fresh weights.
        resume: continue from the checkpoint in `output_dir`, if there is one.
        overwrite: start again where `output_dir` holds a run already.
        stop_after: stop (and save) after this many steps in all, as if interrupted.
        progress: show a progress bar; None: only in a terminal.
        log: gets one line per thing a reader should know.

    Raises:
        FileExistsError: if `output_dir` holds a run already, and neither `resume` nor `overwrite`
            says what to do with it.
        FloatingPointError: if a loss is no number any more; the last checkpoint is left as it was.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedDataParallelKwargs
    from tqdm import tqdm

    if config.compute.precision == "fp16" and not torch.cuda.is_available():
        raise ValueError("precision 'fp16' needs a GPU; choose 'bf16' or 'no' on a CPU")
    several = int(os.environ.get("WORLD_SIZE", 1)) > 1
    AcceleratorState._reset_state()  # or a second run of a process keeps the first's precision
    accelerator = Accelerator(
        # Not told so, accelerate takes each of several processes without GPU for the only one.
        cpu=several and not torch.accelerator.is_available(),
        mixed_precision=config.compute.precision,
        gradient_accumulation_steps=config.optimisation.accumulation,
        # The volume side of the last word fusion is read by nobody and gets no gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    main = accelerator.is_main_process
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    output_dir = Path(output_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    checkpoint = output_dir / "checkpoint"
    found = find_checkpoint(checkpoint)
    if found and not (resume or overwrite):
        raise FileExistsError(
            f"{output_dir} holds a run already; continue it with resume=True, start again with "
            "overwrite=True, or choose another output_dir"
        )

    pretraining = pretraining or build_pretraining(config)
    text = pretraining.model.text_encoder
    text.to(accelerator.device)
    train, val = load_patients(config, Path(data_dir), text.tokenizer)
    if main:
        log(str(train.left_out + val.left_out))
    config = _fit_batch(config, len(train.patients), accelerator.num_processes, log)
    optimisation = config.optimisation
    optimiser = build_optimiser(pretraining, config)

    first_step, seconds_before = 0, 0.0
    initial: dict[str, float] | None = None
    if found and resume:
        state = load_checkpoint(found, pretraining, optimiser, config)
        first_step, seconds_before = state["step"], state["seconds"]
        initial = json.loads((output_dir / "initial_losses.json").read_text())
    last_step = max(
        first_step,
        min(optimisation.total_steps, stop_after or optimisation.total_steps),
    )
    sampler = StepSampler(
        train.volumes_of,
        optimisation.batch_size,
        seed=config.run.seed,
        first_step=first_step,
        last_step=last_step,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        parts=optimisation.accumulation,
    )
    loader = DataLoader(
        train,
        batch_sampler=sampler,
        collate_fn=collate(text.pad_token),
        num_workers=config.compute.workers,
    )
    wrapped, optimiser_ = accelerator.prepare(pretraining, optimiser)
    weights = config.weights.active()

    def measure() -> dict[str, float]:
        return held_out_losses(pretraining, val, config, accelerator.device)

    if initial is None:
        mim = pretraining.find(MIM)
        if mim is not None and config.objectives.mim_from_mean:
            mim.start_from(train.mean_volume())
        initial = measure()
    columns = [
        "step",
        "seconds",
        "learning_rate",
        "total",
        *weights,
        *(f"val_{n}" for n in weights),
    ]
    history = History(output_dir / "history.csv" if main else None, columns, first_step)
    if main:
        write_config(config, output_dir / "config.json")
        (output_dir / "initial_losses.json").write_text(json.dumps(initial, indent=2))
        if first_step == 0:
            history.add({"step": 0, "seconds": 0.0, **_prefixed(initial)})

    def save(step: int, seconds: float) -> None:
        if main:
            save_checkpoint(checkpoint, pretraining, optimiser, config, step=step, seconds=seconds)

    jitter = config.augmentation
    start = time.perf_counter()
    batches = iter(loader)
    final: dict[str, float] = {}
    for step in tqdm(
        sampler.steps,
        desc="pre-training",
        unit="step",
        disable=not main if progress else (True if progress is False else None),
    ):
        rate = set_learning_rate(optimiser, step + 1, config)
        sums: dict[str, float] = dict.fromkeys(weights, 0.0)
        for part in range(optimisation.accumulation):
            generator = torch.Generator().manual_seed(_seed_of(config.run.seed, step))
            whole = next(batches)
            first = (accelerator.process_index * optimisation.accumulation + part) * len(whole)
            shown = whole.jitter(jitter, generator, first=first)
            batch = hide(shown, config, text, generator, first=first).to(accelerator.device)
            with accelerator.accumulate(wrapped):
                with accelerator.autocast():
                    terms = wrapped(batch)
                    total = weigh(terms, weights)
                accelerator.backward(total)
                if optimisation.max_grad_norm and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(wrapped.parameters(), optimisation.max_grad_norm)
                optimiser_.step()
                optimiser_.zero_grad()
            for name, term in terms.items():
                sums[name] += float(term.detach()) / optimisation.accumulation
        done = step + 1
        # in fp16 the loss scaler skips a step that overflows
        if config.compute.precision != "fp16":
            _check_finite(sums, done, checkpoint)
        seconds = seconds_before + time.perf_counter() - start
        row = {
            "step": done,
            "seconds": round(seconds, 3),
            "learning_rate": rate,
            "total": sum(weights[name] * value for name, value in sums.items()),
            **sums,
        }
        if done % config.run.validate_every == 0 or done == last_step:
            final = measure()
            row |= _prefixed(final)
        history.add(row)
        if done % config.run.save_every == 0 or done == last_step:
            save(done, seconds)
    seconds = seconds_before + time.perf_counter() - start
    final = final or measure()  # a finished run was asked to go on
    accelerator.wait_for_everyone()
    return Run(pretraining, config, history, train, val, last_step, seconds, initial, final)


def _check_finite(losses: dict[str, float], step: int, checkpoint: Path) -> None:
    """Stop before a checkpoint is replaced by one that holds NaN."""
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if broken:
        came = ", ".join(f"{name} = {losses[name]}" for name in broken)
        raise FloatingPointError(
            f"expected finite losses, got {came} in step {step}; lower learning_rate or set "
            f"max_grad_norm, and continue from {checkpoint} (written before this step, if it is "
            "there) or start again"
        )


def _fit_batch(
    config: PretrainConfig, num_patients: int, world: int, log: Callable[[str], None]
) -> PretrainConfig:
    batch_size, accumulation = config.optimisation.batch_size, config.optimisation.accumulation
    if batch_size <= num_patients:
        return config
    unit = world * accumulation
    fitting = num_patients // unit * unit
    if not fitting:
        raise ValueError(
            f"{num_patients} training patients cannot fill {world} processes times "
            f"{accumulation} micro-batches; use fewer of them, or more patients"
        )
    log(f"batch_size {batch_size} -> {fitting}: there are {num_patients} training patients")
    return change(config, batch_size=fitting)


def _prefixed(losses: dict[str, float]) -> dict[str, float]:
    return {f"val_{name}": value for name, value in losses.items()}


def _seed_of(*numbers: int) -> int:
    """One seed from several numbers, without the collisions of adding them up."""
    import numpy as np

    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
