"""Floating-point operations of one training step, counted while it runs.

`python -m benchmarks.operations` prints one JSON line per measurement, for the `swin_b` and the
`swin_l` preset at batch 1: with the window-by-window Swin that a CPU uses, whose backward pass
computes windows again, and layer by layer, as on a GPU. The number does not depend on the machine.
Volumes, reports and the text encoder are made of random numbers (`benchmarks.made_up`); the frozen
text encoder is counted for the reports with hidden words only, since whole reports are cached.
Objectives that compare patients need a batch of two; with one they are computed as well, and cost
next to nothing.

    python -m benchmarks.operations --preset tiny --batch 16
"""

import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import torch

from benchmarks.made_up import make_batch, write_bert
from benchmarks.measure import command_line, machine, show
from benchmarks.step import TOY
from mg3d.config import change, find_preset
from mg3d.experiments.step_cost import step_cost
from mg3d.objectives.objective import TrainingPatients
from mg3d.text.encoder import CachedTextEncoder, load_text_encoder
from mg3d.training.step import build_pretraining, hide


def measure_one(
    preset: str, batch_size: int, *, window_recompute: bool, text_encoder: str, toy: bool = False
) -> dict[str, Any]:
    """Operations and weights of one step.

    Args:
        preset: of the run.
        batch_size: patients in the step.
        window_recompute: see `ComputeSettings`.
        text_encoder: "embedded" or a folder.
        toy: a small network instead, for tests.
    """
    config = change(
        find_preset(preset), window_recompute=window_recompute, text_encoder=text_encoder
    )
    config = change(config, **TOY) if toy else config
    text = CachedTextEncoder(load_text_encoder(text_encoder))
    pretraining = build_pretraining(config, text)
    drawn = make_batch(config, text.tokenizer, batch_size)
    counts = torch.bincount(drawn.tokens.flatten(), minlength=text.vocabulary_size)
    pretraining.start(TrainingPatients(lambda: drawn.volume.mean(0), lambda: counts))
    batch = hide(drawn, config, text, torch.Generator().manual_seed(0))
    cost = step_cost(pretraining, batch, config.weights.active())
    return {
        **{"benchmark": "operations", "preset": preset, "batch": batch_size},
        **{"window_recompute": window_recompute, "operations": cost.operations},
        **{"parameters": cost.parameters, "encoder_parameters": cost.encoder_parameters},
    }


def jobs(presets: list[str], batches: list[int], toy: bool) -> Iterator[dict[str, Any]]:
    """Every measurement asked for; Swin presets both window by window and layer by layer."""
    for preset, batch_size in product(presets, batches):
        swin = find_preset(preset).network.encoder == "swin3d" and not toy
        for recompute in (True, False) if swin else (True,):
            yield {"preset": preset, "batch_size": batch_size, "window_recompute": recompute}


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = command_line(__doc__)
    parser.add_argument("--preset", nargs="+", default=["swin_b", "swin_l"])
    parser.add_argument("--batch", type=int, nargs="+", default=[1], help="patients")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        write_bert(Path(folder))
        for job in jobs(arguments.preset, arguments.batch, arguments.toy):
            embedded = find_preset(job["preset"]).network.text_encoder == "embedded"
            text_encoder = "embedded" if embedded or arguments.toy else folder
            result = measure_one(**job, text_encoder=text_encoder, toy=arguments.toy)
            show({**result, "machine": machine()})


if __name__ == "__main__":
    main()
