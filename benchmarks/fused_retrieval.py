"""Fused retrieval: every report with every volume, by matrix products or pair by pair.

`python -m benchmarks.fused_retrieval` prints one JSON line per measurement: seconds and peak memory
of 1,000 reports with 1,000 volumes at the paper's width (48 visual tokens, d 768, two gated layers)
after encoding, with one mean token per report and with 20 sentences. Peak memory is that of the
whole process, encoded tokens included; `extra_gib` is above what was held before. The largest
difference from the pair-by-pair definition, and its seconds, are of a subset of pairs.

Source: MG-3D (arXiv 2412.05876), retrieval; its released code loops over pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from benchmarks.measure import (
    command_line,
    finish,
    forget_peak,
    in_fresh_process,
    machine,
    peak_gib,
    show,
)
from mg3d.encoders.unet3d import UNet3DEncoder
from mg3d.evaluation.fused_retrieval import fused_similarity
from mg3d.model import MG3D
from mg3d.objectives.cml import CML
from mg3d.text.encoder import load_text_encoder

MEMORY_GB = 1.0


@dataclass(frozen=True)
class Encoded:
    """Model and tokens as they are after encoding."""

    model: MG3D
    cml: CML
    visual: Float[Tensor, "V N d"]
    sentences: Float[Tensor, "R K d"]
    padding: Bool[Tensor, "R K"]


def prepare(
    reports: int, volumes: int, sentences: int, *, places: int, width: int, device: str = "cpu"
) -> Encoded:
    """Random tokens; reports have between half and all of `sentences`. Encoders are not called."""
    torch.manual_seed(0)
    encoder, text = UNet3DEncoder((4,)), load_text_encoder("embedded")  # not called
    model = MG3D(encoder, text, token_grid=(1, 1, places), dim=width)
    cml = CML(width)
    count = torch.randint((sentences + 1) // 2, sentences + 1, (reports,))
    return Encoded(
        model.to(device),
        cml.to(device),
        torch.randn(volumes, places, width).to(device),
        torch.randn(reports, sentences, width).to(device),
        (torch.arange(sentences) >= count[:, None]).to(device),
    )


def all_pairs(encoded: Encoded, memory_gb: float = MEMORY_GB) -> Float[Tensor, "R V"]:
    """The library's implementation."""
    return fused_similarity(
        encoded.model,
        encoded.cml,
        encoded.visual,
        encoded.sentences,
        encoded.padding,
        memory_gb=memory_gb,
    )


@torch.no_grad()
def pair_by_pair(encoded: Encoded, reports: int, volumes: int) -> Float[Tensor, "r v"]:
    """The definition on the first reports and volumes: one forward pass for each pair."""
    model, cml = encoded.model, encoded.cml
    result = encoded.visual.new_empty(reports, volumes)
    for r in range(reports):
        text, padding = encoded.sentences[r, None], encoded.padding[r, None]
        for v in range(volumes):
            visual = encoded.visual[v, None]
            fused_visual, fused_text = model.sentence_fusion(visual, text, text_padding=padding)
            fused = torch.cat(
                [
                    model.fused_report_pooler(fused_text, padding),
                    model.fused_volume_pooler(fused_visual),
                ],
                dim=-1,
            )
            alone = torch.cat(
                [model.report_pooler(text, padding), model.volume_pooler(visual)], dim=-1
            )
            result[r, v] = (cml.fused_head(fused) * cml.alone_head(alone)).sum()
    return result


def measure_one(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds (minimum), peak memory, and the comparison with the definition."""
    device, memory_gb = settings["device"], settings["memory_gb"]
    shape = {key: settings[key] for key in ("places", "width")}
    all_pairs(prepare(2, 2, 1, **shape, device=device), memory_gb)  # warm-up: loads libraries
    names = ("reports", "volumes", "sentences")
    encoded = prepare(*(settings[name] for name in names), **shape, device=device)
    known = forget_peak(device)
    before = peak_gib(device)
    seconds = []
    for _ in range(settings["repeats"]):
        start = perf_counter()
        similarity = all_pairs(encoded, memory_gb)
        finish(device)
        seconds.append(perf_counter() - start)
    peak = peak_gib(device) if known else None
    size = min(settings["subset"], *similarity.shape)
    start = perf_counter()
    expected = pair_by_pair(encoded, size, size)
    finish(device)
    slow = (perf_counter() - start) / size**2
    return {
        **settings,
        "seconds": min(seconds),
        "peak_gib": peak,
        "extra_gib": None if peak is None else peak - before,
        "largest_difference": float((similarity[:size, :size] - expected).abs().max()),
        "pair_by_pair_seconds": slow * similarity.numel(),  # of all pairs, from the subset
    }


def jobs(toy: bool, device: str, repeats: int) -> Iterator[dict[str, Any]]:
    """One mean token per report, then sentences; the number of pairs grows."""
    base = {"benchmark": "fused_retrieval", "device": device, "repeats": repeats}
    base |= {"places": 6, "width": 16} if toy else {"places": 48, "width": 768}
    base |= {"subset": 3 if toy else 16, "memory_gb": MEMORY_GB}
    sizes = [(5, 1), (5, 3)] if toy else [(250, 1), (1000, 1), (250, 20), (1000, 20)]
    for items, sentences in sizes:
        yield {**base, "reports": items, "volumes": items, "sentences": sentences}


def main() -> None:
    """Read the command line; see the module's first lines."""
    arguments = command_line(__doc__).parse_args()
    if arguments.one:
        show({**measure_one(arguments.one), "machine": machine(arguments.one["device"])})
        return
    for settings in jobs(arguments.toy, arguments.device, arguments.repeats):
        show(in_fresh_process("fused_retrieval", settings, arguments.threads))


if __name__ == "__main__":
    main()
