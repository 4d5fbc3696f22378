"""Sentence pairs: all at once, by blocks of rows, or in a loop over pairs of patients.

`python -m benchmarks.ssm` prints one JSON line per measurement: seconds of forward and backward and
peak memory of the SSM loss, up to 64 patients of 80 sentences; by blocks, as the library computes
more than 2,048 sentences, up to 512 patients. Ratios are seconds of the loop by seconds of a form.

Source: MG-3D (arXiv 2412.05876), SSM; its released code loops over pairs of patients.
"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from benchmarks.measure import alternate, command_line, extra_gib, in_fresh_process, machine, show
from mg3d.objectives.ssm import compare_sentences, ssm_loss
from mg3d.objectives.ssm_blocks import blocked_ssm_loss

FEATURE, IDENTITY = 128, 768


def closed(
    visual: Float[Tensor, "S h"], identity: Float[Tensor, "S e"], patient: Int[Tensor, " S"]
) -> Float[Tensor, ""]:
    """The library's implementation up to 2,048 sentences: all pairs at once."""
    return ssm_loss(compare_sentences(visual, identity, patient))


def blocks(
    visual: Float[Tensor, "S h"], identity: Float[Tensor, "S e"], patient: Int[Tensor, " S"]
) -> Float[Tensor, ""]:
    """The library's implementation above 2,048 sentences: by blocks of rows."""
    return blocked_ssm_loss(visual, identity, patient)


def looped(
    visual: Float[Tensor, "S h"], identity: Float[Tensor, "S e"], patient: Int[Tensor, " S"]
) -> Float[Tensor, ""]:
    """The definition: a matrix of sentences for every pair of patients, averaged twice."""
    rows = [torch.where(patient == number)[0] for number in range(int(patient.max()) + 1)]
    losses = []
    for b, c in combinations(rows, 2):
        seen = F.normalize(visual[b], dim=-1) @ F.normalize(visual[c], dim=-1).mT
        words = F.normalize(identity[b], dim=-1) @ F.normalize(identity[c], dim=-1).mT
        same = words >= 0.9
        target = torch.where(same, words, 0.0)
        losses.append((seen * (same | (words <= 0.6)) - target).abs().mean())
    return torch.stack(losses).mean()


FORMS = {"closed": closed, "blocks": blocks, "looped": looped}


def prepare(form: str, patients: int, sentences: int, device: str = "cpu") -> Callable[[], None]:
    """Forward and backward; one sentence in eight is the same for all patients."""
    generator = torch.Generator().manual_seed(0)
    count = patients * sentences
    visual = torch.randn(count, FEATURE, generator=generator).to(device).requires_grad_()
    identity = torch.randn(count, IDENTITY, generator=generator)
    identity[8::8] = identity[0].clone()
    identity = identity.to(device)
    patient = torch.arange(patients, device=device).repeat_interleave(sentences)
    function = FORMS[form]

    def run() -> None:
        visual.grad = None
        function(visual, identity, patient).backward()

    return run


def measure_one(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of the forms in turn, or the memory of one."""
    sizes = {key: settings[key] for key in ("patients", "sentences", "device")}
    if settings["measure"] == "memory":
        prepare(settings["form"], 2, 2, settings["device"])()  # warm-up: loads libraries
        extra = extra_gib(prepare(settings["form"], **sizes), settings["device"])
        return {**settings, "extra_mib": None if extra is None else extra * 1024}
    runs = {form: prepare(form, **sizes) for form in settings["compared"]}
    seconds = alternate(runs, settings["repeats"], settings["device"])
    ratios = {
        f"{name}_{form}": seconds["looped"][key] / seconds[form][key]
        for form in ("closed", "blocks")
        for name, key in (("ratio", "seconds"), ("cpu_ratio", "cpu_seconds"))
        if "looped" in seconds
    }
    return {**settings, "forms": seconds, **ratios}


def jobs(toy: bool, device: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Growth with the number of patients, then with the sentences of each, then by blocks alone."""
    sizes = [(4, 20), (16, 20), (64, 20), (64, 40), (64, 80)]
    cases = [(*size, list(FORMS)) for size in ([(2, 3), (3, 5)] if toy else sizes)]
    cases += [(4, 5, ["blocks"])] if toy else [(256, 80, ["blocks"]), (512, 80, ["blocks"])]
    for patients, sentences, forms in cases:
        base = {"benchmark": "ssm", "device": device, "patients": patients, "sentences": sentences}
        yield {**base, "measure": "seconds", "compared": forms, "repeats": repeats}
        for form in forms:
            yield {**base, "measure": "memory", "form": form}


def main() -> None:
    """Read the command line; see the module's first lines."""
    arguments = command_line(__doc__).parse_args()
    if arguments.one:
        show({**measure_one(arguments.one), "machine": machine(arguments.one["device"])})
        return
    for settings in jobs(arguments.toy, arguments.device, arguments.repeats):
        show(in_fresh_process("ssm", settings, arguments.threads))


if __name__ == "__main__":
    main()
