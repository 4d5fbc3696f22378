"""Pre-train: one step (`mg3d.training.step`), repeated (`mg3d.training.fit`)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mg3d.config import PretrainConfig, flatten, parse_config
from mg3d.data.dataset import VolumeReportDataset
from mg3d.data.split import fingerprint
from mg3d.training.devices import start_devices
from mg3d.training.fit import fit
from mg3d.training.heldout import held_out_losses
from mg3d.training.history import History
from mg3d.training.optimiser import build_optimiser, rate_of
from mg3d.training.patients import (
    fit_batch,
    hidden_batches,
    known_of,
    load_patients,
    taught_by,
    unread_words,
)
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog
from mg3d.training.step import Pretraining, build_pretraining, pretrain_step

# Settings that may change when a run is resumed: they change the numbers by rounding at most.
FREE_SETTINGS = {
    *("workers", "save_every", "keep_best", "text_cache_mb"),
    *("activation_checkpointing", "activation_batch"),
}


@dataclass(frozen=True)
class Run:
    """A finished (or stopped) pre-training run."""

    pretraining: Pretraining
    config: PretrainConfig  # as it was run
    history: History
    train: VolumeReportDataset
    val: VolumeReportDataset
    steps: int
    seconds: float  # of training, that before a resume included
    initial: dict[str, float]  # held-out losses before the first step
    final: dict[str, float]  # held-out losses after the last step


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
    log: Callable[[str], object] = print,
) -> Run:
    """Pre-train on a prepared folder; write config, history and checkpoint to `output_dir`.

    Args:
        config: settings of the run. A batch size above the number of patients is reduced, with a
            message to `log`.
        data_dir: prepared folder with patients in the splits "train" and "val".
        output_dir: folder for `config.json`, `history.csv` and `checkpoint/`.
        pretraining: start from this instead of fresh weights.
        resume: continue from the checkpoint in `output_dir`, if there is one.
        overwrite: if `output_dir` holds a run already, start again.
        stop_after: stop (and save) after this many steps in all, as if interrupted.
        progress: show a progress bar; None: only in a terminal.
        log: receives messages of one line.

    Raises:
        ValueError: if settings, data or a run to continue do not go together; the message says.
        FileExistsError: if `output_dir` holds a run already, and neither `resume` nor `overwrite`
            is set.
        FloatingPointError: if a loss is NaN or infinite; the last checkpoint is kept.
        OSError: if `output_dir` cannot be written.
    """
    devices = start_devices(
        precision=config.compute.precision, accumulation=config.optimisation.accumulation
    )
    goes_on = _folder(config, output_dir, resume=resume, overwrite=overwrite).find()
    pretraining = pretraining or build_pretraining(config)
    text = pretraining.model.text_encoder
    text.to(devices.device)
    train, val = load_patients(config, Path(data_dir), text.tokenizer)
    config, notes = fit_batch(config, len(train.patients), devices.world)
    weights, left_out = taught_by(pretraining, config)
    unread = unread_words(train, text.tokenizer)
    lines = [str(train.left_out + val.left_out), *unread, *notes, *left_out]
    if not goes_on:
        pretraining.start(known_of(train, text.vocabulary_size))
    fitted = fit(
        pretraining,
        pretrain_step,
        hidden_batches(train, config, text, devices),
        build_optimiser(pretraining, config),
        steps=config.optimisation.total_steps,
        seed=config.run.seed,
        devices=devices,
        batch_size=config.optimisation.batch_size,
        weights=weights,
        learning_rate=rate_of(config),
        max_grad_norm=config.optimisation.max_grad_norm,
        stop_after=stop_after,
        measure=lambda: held_out_losses(pretraining, val, config, devices.device),
        measure_every=config.run.validate_every,
        best=(lambda losses: total_of(losses, weights)) if config.run.keep_best else None,
        folder=_folder(
            config,
            output_dir,
            resume=resume,
            overwrite=overwrite,
            data=fingerprint(train, val),
        ),
        log=RunLog(log, lines, progress),
    )
    return Run(pretraining=pretraining, config=config, train=train, val=val, **vars(fitted))


def total_of(losses: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The weighted total of losses that are numbers."""
    return sum(weight * losses[name] for name, weight in weights.items())


def _folder(
    config: PretrainConfig, output_dir: Path, *, resume: bool, overwrite: bool, data: str = ""
) -> RunFolder:
    return RunFolder(
        Path(output_dir),
        settings=asdict(config),
        free=FREE_SETTINGS,
        resume=resume,
        overwrite=overwrite,
        save_every=config.run.save_every,
        flatten=lambda saved: flatten(parse_config(saved, output_dir)),
        data=data,
    )
