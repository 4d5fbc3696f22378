"""Gated attention: the closed form against the definition, written as nested loops.

`python -m benchmarks.gated_attention` prints one JSON line per measurement: seconds of forward and
backward at the method's 250 words and 48 visual tokens of width 768 (both directions of one fusion
layer), peak memory, and how both grow with the number of tokens.

Source: MG-3D (arXiv 2412.05876) Fig. 4. Like the released code, `sliced` makes the gated values of
every pair of tokens, n x m x d, and takes the mean slice by slice.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmarks.measure import alternate, command_line, extra_gib, in_fresh_process, machine, show
from mg3d.attention.gated import GatedCrossAttention

WORDS, PLACES, WIDTH = 250, 48, 768


def closed(
    attention: GatedCrossAttention, own: Float[Tensor, "n d"], other: Float[Tensor, "m d"]
) -> Float[Tensor, "n d"]:
    """The library's closed form: the mean gate of each token by one matrix product."""
    return attention(own[None], other[None])[0]


def looped(
    attention: GatedCrossAttention, own: Float[Tensor, "n d"], other: Float[Tensor, "m d"]
) -> Float[Tensor, "n d"]:
    """The definition as loops: each token's value times its gate, averaged over the other side."""
    query, key = attention.gates.query(own), attention.gates.key(other)
    value = attention.value(own)
    rows = []
    for q, v in zip(query, value, strict=True):
        gated = []
        for k in key:
            gate = (q @ k / q.shape[-1] ** 0.5).sigmoid()
            gated.append(gate * v)
        rows.append(torch.stack(gated).mean(dim=0))
    return torch.stack(rows)


def sliced(
    attention: GatedCrossAttention, own: Float[Tensor, "n d"], other: Float[Tensor, "m d"]
) -> Float[Tensor, "n d"]:
    """All gated values at once, (n, m, d), then the mean slice by slice, as in released code."""
    query, key = attention.gates.query(own), attention.gates.key(other)
    gates = (query @ key.mT / query.shape[-1] ** 0.5).sigmoid()
    gated = gates[:, :, None] * attention.value(own)[:, None, :]  # (n, m, d)
    return torch.stack([gated[i].mean(dim=0) for i in range(len(own))])


FORMS = {"closed": closed, "looped": looped, "sliced": sliced}


def prepare(
    form: str, words: int, places: int, width: int, device: str = "cpu"
) -> Callable[[], None]:
    """Forward and backward of one fusion layer, in both directions (words and volume)."""
    torch.manual_seed(0)
    sides = [GatedCrossAttention(width).to(device) for _ in range(2)]
    text = torch.randn(words, width, device=device, requires_grad=True)
    volume = torch.randn(places, width, device=device, requires_grad=True)
    function = FORMS[form]

    def run() -> None:
        text.grad = volume.grad = None
        out = function(sides[0], text, volume).sum() + function(sides[1], volume, text).sum()
        out.backward()

    return run


def measure_one(settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of several forms in turn, or the memory of one."""
    sizes = {key: settings[key] for key in ("words", "places", "width", "device")}
    if settings["measure"] == "memory":
        prepare(settings["form"], **{**sizes, "words": 2, "places": 2})()  # warm-up
        run = prepare(settings["form"], **sizes)
        return {**settings, "extra_mib": _mib(extra_gib(run, settings["device"]))}
    runs = {form: prepare(form, **sizes) for form in settings["forms"]}
    seconds = alternate(runs, settings["repeats"], settings["device"])
    ratio = {form: s["seconds"] / seconds["closed"]["seconds"] for form, s in seconds.items()}
    cpu = {form: s["cpu_seconds"] / seconds["closed"]["cpu_seconds"] for form, s in seconds.items()}
    return {**settings, "forms": seconds, "ratio": ratio, "cpu_ratio": cpu}


def _mib(gib: float | None) -> float | None:
    return None if gib is None else gib * 1024


def jobs(toy: bool, device: str, repeats: int) -> Iterator[dict[str, Any]]:
    """Every measurement: the method's sizes in all forms, then growth with tokens on each side."""
    words, places, width = (6, 4, 8) if toy else (WORDS, PLACES, WIDTH)
    base = {"benchmark": "gated_attention", "device": device, "width": width}
    sizes = {"words": words, "places": places}
    yield {**base, **sizes, "measure": "seconds", "repeats": repeats, "forms": list(FORMS)}
    for form in FORMS:
        yield {**base, **sizes, "measure": "memory", "form": form}
    for tokens in (4, 8) if toy else (64, 128, 256, 512, 1024):
        sizes = {"words": tokens, "places": tokens}
        # Loops over 256^2 pairs take minutes; the gated values of 1024^2 pairs, 3 GiB each time.
        forms = [form for form in FORMS if form == "closed" or tokens <= 64]
        yield {**base, **sizes, "measure": "seconds", "repeats": repeats, "forms": forms}
        for form in [f for f in FORMS if f == "closed" or tokens <= 128]:
            yield {**base, **sizes, "measure": "memory", "form": form}


def main() -> None:
    """Read the command line; see the module's first lines."""
    arguments = command_line(__doc__).parse_args()
    if arguments.one:
        result = measure_one(arguments.one)
        show({**result, "machine": machine(arguments.one["device"])})
        return
    for settings in jobs(arguments.toy, arguments.device, arguments.repeats):
        show(in_fresh_process("gated_attention", settings, arguments.threads))


if __name__ == "__main__":
    main()
