"""One whole training step: seconds and peak memory of every part.

`python -m benchmarks.step` prints one JSON line per measurement, each from a fresh process: batches
of 1, 2 and 4 patients of the `paper` preset, and 1 and 2 with activation checkpointing. Volumes,
reports and the text encoder are made of random numbers (`benchmarks.made_up`). Reports are new, so
that both text passes are counted; from the second epoch on, one of them is cached.

    python -m benchmarks.step --preset tiny --batch 16
    python -m benchmarks.step --preset small --batch 8 64 --activation-batch 0 8 --checkpointing no
    python -m benchmarks.step --device cuda --precision bf16 --batch 4 16 64 --compile both

On a GPU a line also says which share of the card's attainable matrix rate and memory bandwidth the
step reaches; both are measured beside it, by a product of large matrices and by a copy.
"""

import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.card import shares
from benchmarks.made_up import make_batch, write_bert
from benchmarks.measure import (
    Parts,
    command_line,
    finish,
    forget_peak,
    in_fresh_process,
    machine,
    peak_gib,
    show,
)
from mg3d.config import PretrainConfig, change, find_preset
from mg3d.data.batch import Batch
from mg3d.text.encoder import CachedTextEncoder, load_text_encoder
from mg3d.training.checkpoint import Progress
from mg3d.training.losses import weigh
from mg3d.training.memory import keep_freed_memory
from mg3d.training.optimiser import build_optimiser, rate_of, set_rate
from mg3d.training.step import Pretraining, build_pretraining, hide

TOY = {"volume_shape": (32, 32, 32), "encoder_settings": {"channels": (4, 8, 8, 8)}, "dim": 32}


def settings_of(measurement: dict[str, Any]) -> PretrainConfig:
    """The preset, changed as the measurement asks."""
    config = change(
        find_preset(measurement["preset"]),
        batch_size=measurement["batch"],
        activation_checkpointing=measurement["checkpointing"],
        activation_batch=measurement["at_a_time"],
        compile=measurement["compile"],
        precision=measurement["precision"],
        text_encoder=measurement["text_encoder"],
    )
    return change(config, **TOY) if measurement["toy"] else config


def watch(parts: Parts, pretraining: Pretraining, text: CachedTextEncoder) -> list[Batch]:
    """Count the passes of each module as parts; the list holds the batch being processed."""
    reading: list[Batch] = []

    def which(volume: torch.Tensor) -> str:
        whole = reading[-1].volume.untyped_storage().data_ptr()
        return f"encoder, {'whole' if volume.untyped_storage().data_ptr() == whole else 'masked'}"

    parts.watch(pretraining.model.encoder, which)
    parts.watch(text.plain, "text encoder")
    parts.watch(pretraining.model.sentence_fusion, "fusion")
    parts.watch(pretraining.model.word_fusion, "fusion")
    for name, objective in pretraining.objectives.items():
        known = {"mim": "MIM decoder", "mlm": "MLM head"}
        parts.watch(objective, known.get(name, "other objectives"))
    return reading


def measure_one(measurement: dict[str, Any]) -> dict[str, Any]:
    """Some steps, the first of them unmeasured; mean seconds and highest peaks of the others."""
    device, repeats = measurement["device"], measurement["repeats"]
    if device == "cpu":
        keep_freed_memory()
    config = settings_of(measurement)
    text = CachedTextEncoder(load_text_encoder(config.network.text_encoder)).to(device)
    pretraining = build_pretraining(config, text).to(device)
    optimiser = build_optimiser(pretraining, config)
    make_state(optimiser)
    parts = Parts(device)
    reading = watch(parts, pretraining, text)
    warm_up = measurement["warm_up"]
    finish(device)
    forget_peak(device)
    held, peak, seconds, cpu_seconds = peak_gib(device), 0.0, 0.0, 0.0
    for step in range(warm_up + repeats):
        drawn = make_batch(config, text.tokenizer, config.optimisation.batch_size, seed=step)
        generator = torch.Generator().manual_seed(step)
        batch = hide(drawn, config, text, generator).to(device)
        reading[:] = [batch]
        if step == warm_up:
            parts.clear()
        start = time.perf_counter(), time.process_time()
        one_step(pretraining, optimiser, config, batch, parts)
        if step >= warm_up:
            seconds += (time.perf_counter() - start[0]) / repeats
            cpu_seconds += (time.process_time() - start[1]) / repeats
            peak = max([peak_gib(device), *parts.peaks.values()])
    others = {"rest": seconds - sum(parts.seconds.values()) / repeats}
    del batch, optimiser
    result = {
        **{key: value for key, value in measurement.items() if key != "text_encoder"},
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_gib": peak,
        "held_gib": held,  # weights, frozen ones too, optimiser, libraries
        "seconds_by_part": {k: v / repeats for k, v in parts.seconds.items()} | others,
        "cpu_seconds_by_part": {k: v / repeats for k, v in parts.cpu_seconds.items()},
        "peak_gib_by_part": dict(parts.peaks),
    }
    if device == "cpu":
        return result
    plain = build_pretraining(change(config, compile=False), text).to(device)

    def forward() -> torch.Tensor:
        return weigh(plain(reading[-1]), config.weights.active())

    rates = shares(forward, count_parameters(plain), seconds, device, precision_of(config))
    return {**result, "samples_per_second": config.optimisation.batch_size / seconds, **rates}


def one_step(
    pretraining: Pretraining,
    optimiser: torch.optim.Optimizer,
    config: PretrainConfig,
    batch: Batch,
    parts: Parts,
) -> None:
    """What `mg3d.training.fit` does with one batch."""
    lower = precision_of(config)
    set_rate(optimiser, rate_of(config)(Progress(0, 0.0)))
    with torch.autocast(batch.volume.device.type, lower, enabled=lower != torch.float32):
        total = weigh(pretraining(batch), config.weights.active())
    with parts.part("backward"):
        total.backward()
    with parts.part("optimiser"):
        optimiser.step()
        optimiser.zero_grad()


def precision_of(config: PretrainConfig) -> torch.dtype:
    """Data type of matrix products."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(
        config.compute.precision, torch.float32
    )


def count_parameters(module: torch.nn.Module) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


def make_state(optimiser: torch.optim.Optimizer) -> None:
    """Create the optimiser's state by one step with gradient 0."""
    for group in optimiser.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    optimiser.zero_grad()


def jobs(arguments: Any) -> Iterator[dict[str, Any]]:
    """Every measurement asked for."""
    cpu = arguments.device == "cpu"
    both, fixed = [False, True], {"yes": [True], "no": [False]}
    checkpointing = fixed.get(arguments.checkpointing, both)
    for recompute, compiled, batch, at_a_time in product(
        checkpointing,
        fixed.get(arguments.compile, both),
        arguments.batch,
        arguments.activation_batch,
    ):
        if recompute and arguments.checkpointing == "default" and batch > 2 and cpu:
            continue
        yield {
            "benchmark": "step",
            "preset": arguments.preset,
            "batch": batch,
            "checkpointing": recompute,
            "at_a_time": at_a_time,
            "compile": compiled,
            "precision": arguments.precision,
            "device": arguments.device,
            "repeats": arguments.repeats,
            "warm_up": arguments.warm_up,
            "toy": arguments.toy,
        }


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = command_line(__doc__)
    parser.set_defaults(repeats=1)
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 2, 4], help="patients")
    parser.add_argument("--precision", default="no", choices=["no", "bf16", "fp16"])
    parser.add_argument(
        "--checkpointing", default="default", choices=["yes", "no", "both", "default"]
    )
    parser.add_argument(
        "--activation-batch", type=int, nargs="+", default=[0],
        help="patients in encoder and MIM at a time; 0: the whole batch",
    )  # fmt: skip
    parser.add_argument("--compile", default="no", choices=["yes", "no", "both"])
    parser.add_argument("--warm-up", type=int, default=0, help="steps before the measured ones")
    arguments = parser.parse_args()
    if arguments.one:
        result = measure_one(arguments.one)
        show({**result, "machine": machine(arguments.one["device"])})
        return
    with tempfile.TemporaryDirectory() as folder:
        text_encoder = "embedded"
        if find_preset(arguments.preset).network.text_encoder != "embedded":
            write_bert(Path(folder))
            text_encoder = folder
        for settings in jobs(arguments):
            settings["text_encoder"] = text_encoder
            show(in_fresh_process("step", settings, arguments.threads))


if __name__ == "__main__":
    main()
