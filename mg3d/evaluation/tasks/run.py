"""One downstream run, the same for every task: weights, training, predictions, rows of the ledger.

run.json       what the rows share, and every setting
known.json     what baselines know of the training patients
predictions/   one folder a split, one file a patient
ledger.csv     the rows
beside what `mg3d.training.fit` writes (history.csv, checkpoint/).
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mg3d.data.manifest import LEAK, read_manifest
from mg3d.data.split import PreparedSplit, fingerprint
from mg3d.evaluation.ledger import KNOWN, LEDGER, RUN, ledger_rows, write_ledger
from mg3d.evaluation.tasks.batches import task_batches
from mg3d.evaluation.tasks.predictions import begin_predictions, share_of, write_predictions
from mg3d.evaluation.tasks.registry import find_task
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.sides import EXTERNAL, Sides, prepare_sides
from mg3d.evaluation.tasks.start import Start, start_from
from mg3d.evaluation.tasks.task import Task
from mg3d.evaluation.tasks.tuning import build_task_optimiser, finetune_rate, trained
from mg3d.modes import evaluating
from mg3d.training.devices import Devices, start_devices
from mg3d.training.fit import fit
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog
from mg3d.volumes.volume import replace_file

FREE_SETTINGS = {"compute.workers", "compute.predict_batch", "run.save_every"}
MEASURED_CASES = 64  # of the held-out split, for the loss in the history


@dataclass(frozen=True)
class TaskRun:
    """A finished downstream run."""

    task: Task
    network: nn.Module  # as trained
    folder: Path
    rows: list[dict[str, Any]]  # of the ledger; empty on processes that write nothing


def run_task(
    name: str,
    data: Path,
    weights: str,
    output: Path,
    config: TaskConfig | None = None,
    *,
    preset: str = "tiny",
    evaluate_on: str = "",
    external: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | None = None,
    log: Callable[[str], object] = print,
) -> TaskRun:
    """Fine-tune and evaluate on one task.

    Args:
        name: of the task, see `registry.TASKS`.
        data: prepared folder.
        weights: "scratch", "tiny", a path, or "someone/model" on the hub; see `start_from`.
        output: folder of the run.
        config: settings; None: those of the task.
        preset: of the network from scratch.
        evaluate_on: "test" or "val"; "": "test" where the data have one, else "val".
        external: another prepared folder to evaluate on, instead of `data`.
        resume: continue the run that `output` holds.
        overwrite: start again if `output` holds a run.
        progress: show a progress bar; None: only in a terminal.
        log: receives messages of one line.

    Raises:
        ValueError: if task, data, weights and settings do not go together.
        FileExistsError: if `output` holds a run and neither `resume` nor `overwrite` is set.
    """
    kind = find_task(name)
    config = config or kind.defaults()
    devices = start_devices(
        precision=config.compute.precision, accumulation=config.finetune.accumulation
    )
    say = log if devices.is_main else _silent
    begin = start_from(weights, part=kind.part, preset=preset, seed=config.run.seed, log=say)
    task = kind(config, begin)
    sides = prepare_sides(task, Path(data), evaluate_on, external)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        network = task.network(begin, sides.train)
    known = task.known(sides.train, sides.numbers)
    folder = RunFolder(
        Path(output),
        settings={"task": name, "weights": begin.digest, **asdict(config)},
        free=FREE_SETTINGS,
        resume=resume,
        overwrite=overwrite,
        save_every=config.run.save_every,
        data=sides.fingerprint(),
    )
    _train(task, network, sides, devices, folder, RunLog(say, (_about(network, begin),), progress))
    if devices.is_main:
        _write_facts(task, name, sides, begin, known, folder.path)
    _predict(task, network, sides, devices, folder.path)
    rows = ledger_rows(folder.path) if devices.is_main else []
    if devices.is_main:
        write_ledger(folder.path / LEDGER, rows)
    return TaskRun(task, network, folder.path, rows)


def _train(
    task: Task,
    network: nn.Module,
    sides: Sides,
    devices: Devices,
    folder: RunFolder,
    log: RunLog,
) -> None:
    finetune, run = task.config.finetune, task.config.run
    network.to(devices.device)
    if (
        not finetune.total_steps
        or not len(sides.numbers)
        or not any(True for _ in trained(network))
    ):
        folder.find()
        if devices.is_main:
            log.begin(f"evaluates without training, writes to {folder.path}")
        return
    batches, size = task_batches(task, sides.train, sides.numbers, devices)
    fit(
        network,
        lambda module, batch: task.loss(module(batch), batch),
        batches,
        build_task_optimiser(network, finetune, task.encoder_name),
        steps=finetune.total_steps,
        seed=run.seed,
        devices=devices,
        batch_size=size,
        learning_rate=lambda progress: finetune_rate(finetune, progress),
        max_grad_norm=finetune.max_grad_norm,
        measure=lambda: held_out_loss(task, network, sides, devices.device),
        measure_every=run.validate_every,
        folder=folder,
        log=log,
    )


@torch.no_grad()
def held_out_loss(
    task: Task, network: nn.Module, sides: Sides, device: torch.device
) -> dict[str, float]:
    """Mean losses of the same held-out cases each time, as `fit` records them.

    They are of the validation split where there is one, else of the evaluation split. Nothing is
    chosen by them: the weights of the last step are evaluated.
    """
    cases = sides.held_out[sides.threshold or sides.evaluation]
    order = np.random.default_rng(0).permutation(len(cases))[:MEASURED_CASES]
    size = task.config.finetune.batch_size
    found: dict[str, list[float]] = {}
    with evaluating(network):
        for start in range(0, len(order), size):
            items = [cases.items[int(n)] for n in order[start : start + size]]
            batch = cases.collate(items).to(device)
            for name, loss in task.loss(network(batch), batch).items():
                found.setdefault(name, []).append(float(loss))
    return {name: float(np.mean(values)) for name, values in found.items()}


def _predict(task: Task, network: nn.Module, sides: Sides, devices: Devices, output: Path) -> None:
    for name, cases in sides.held_out.items():
        if devices.is_main:
            begin_predictions(output, name)
        devices.accelerator.wait_for_everyone()
        folder = output / "predictions" / name
        numbers = share_of(cases, devices.rank, devices.world)
        with evaluating(network):
            write_predictions(folder, task.predict(network, cases, numbers, folder))
    devices.accelerator.wait_for_everyone()


def _write_facts(
    task: Task,
    name: str,
    sides: Sides,
    start: Start,
    known: Mapping[str, Any],
    output: Path,
) -> None:
    facts = {"task": name, "settings": asdict(task.config)}
    facts["row"] = shared_columns(task, name, sides, start)
    replace_file(output / RUN, (json.dumps(facts, indent=1) + "\n").encode())
    replace_file(output / KNOWN, (json.dumps(known, indent=1) + "\n").encode())


def shared_columns(task: Task, name: str, sides: Sides, start: Start) -> dict[str, Any]:
    """The columns of the ledger that all rows of a run share."""
    config = task.config
    trains = bool(len(sides.numbers))
    evaluation = sides.held_out[sides.evaluation]
    trained_on, facts = sides.train.split.manifest.facts, evaluation.split.manifest.facts
    leak = LEAK in facts
    permuted = f"{'training' if task.needs_train else 'evaluation'} labels permuted"
    notes = [LEAK if leak else "", permuted * config.tuning.permute_labels]
    notes.append(task.notes(evaluation))
    if sides.evaluation == EXTERNAL and trains:
        notes.append(f"trained on {trained_on.get('source', 'unknown')}")
    return {
        "task": name,
        "dataset": facts.get("source", "unknown"),
        "data_version": facts.get("voxels_sha256", "")[:12],
        "split": str(facts.get("split", "")),
        "split_hash": sides.fingerprint(),
        "fold": ", ".join(sorted(set(evaluation.split.rows["fold"]) - {""})),
        "seed": config.run.seed,
        "model": type(start.encoder).__name__,
        "tuning": config.tuning.tuning if trains else "none",
        "initialisation": start.name,
        "weights_hash": start.digest,
        "loaded_share": round(start.share, 4),
        "pretrained_on": start.data or ("nothing" if start.name == "scratch" else "not recorded"),
        "disjoint": _disjoint(start, sides),
        "train_patients": len({sides.train.patient_id[n] for n in sides.numbers}),
        "train_cases": len(sides.numbers),
        "steps": config.finetune.total_steps if trains else 0,
        "selection_set": "none: the last step",
        "threshold_set": sides.threshold,
        "evaluation_set": sides.evaluation,
        "notes": "; ".join(note for note in notes if note),
    }


def _disjoint(start: Start, sides: Sides) -> str:
    """Whether evaluation patients were held out of pre-training, as far as files can tell."""
    if start.name == "scratch":
        return "yes"
    others = [cases for name, cases in sides.held_out.items() if name != EXTERNAL]
    for folder in dict.fromkeys(cases.split.folder for cases in [sides.train, *others]):
        there = set(read_manifest(folder).rows["split"])
        if not start.data or not {"train", "val"} <= there:
            continue
        if start.data == fingerprint(PreparedSplit(folder, "train"), PreparedSplit(folder, "val")):
            return f"yes: pre-trained on the training patients of {folder.name}"
    return "not known"


def _about(network: nn.Module, start: Start) -> str:
    every = sum(p.numel() for p in network.parameters())
    learns = sum(p.numel() for _, p in trained(network))
    origin = (
        "from scratch"
        if start.name == "scratch"
        else f"from {start.name}, {start.share:.1%} of its parameters filled"
    )
    return f"{learns:,} of {every:,} parameters are trained; weights {origin}"


def _silent(_: str) -> None:
    """Say nothing: this process is not the main one."""
