"""The checkpoint doctor: which tensor of a file goes where, and whether that is enough.

PyTorch's `load_state_dict(strict=False)` says nothing that anybody reads: a wrong prefix trains
from scratch, a half-filled encoder looks like a full one. Here every name of the file and every
name of the module ends up in a report, and too little is refused.

Source: released MG-3D downstream code, which loads non-strictly and never counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

MIN_SHARE = 0.95  # of the parameters of what is loaded


@dataclass(frozen=True)
class Misfit:
    """A tensor that cannot fill its place."""

    name: str  # in the file
    came: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of every name in the file and in the module.

    Names on the left are those of the module, except in `ignored`, `unexpected` and `not_finite`,
    which speak of the file's.
    """

    source: str  # file, or folder
    layout: str  # what kind of file it was taken for
    target: str  # what was to be filled
    loaded: dict[str, str] = field(default_factory=dict)  # name -> name in the file
    missing: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()  # index tables that the module makes itself
    mis_shaped: dict[str, Misfit] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)  # -> values that are NaN or infinite
    converted: dict[str, str] = field(default_factory=dict)  # name -> type in the file
    ignored: dict[str, str] = field(default_factory=dict)  # left out for this reason
    unexpected: tuple[str, ...] = ()  # left out, and nobody knows what it is
    chosen: tuple[str, ...] = ()  # decisions that the names alone did not make, with their reason
    parameters_filled: int = 0
    parameters: int = 0
    min_share: float = MIN_SHARE

    @property
    def renamed(self) -> dict[str, str]:
        """Loaded tensors that carry another name in the file: name -> name in the file."""
        return {name: there for name, there in self.loaded.items() if name != there}

    def fates(self) -> Iterator[tuple[str, str]]:
        """Every name of the file and every name of the module, with what became of it."""
        for name, there in self.loaded.items():
            yield "loaded", there if there == name else f"{there} -> {name}"
        yield from (("mis-shaped", misfit.name) for misfit in self.mis_shaped.values())
        yield from (("unexpected", name) for name in self.unexpected)
        yield from (("ignored", f"{name}: {why}") for name, why in self.ignored.items())
        yield from (("missing", name) for name in self.missing)
        yield from (("computed", name) for name in self.computed)

    @property
    def tensors(self) -> int:
        """Tensors that the module wants filled: parameters and learned statistics."""
        return len(self.loaded) + len(self.missing) + len(self.mis_shaped)

    @property
    def share(self) -> float:
        """Share of the module's parameters that the file fills, 0 to 1."""
        return self.parameters_filled / max(1, self.parameters)

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why these weights are not to be used; empty when they are."""
        spoilt = [name for name in self.not_finite if name in set(self.loaded.values())]
        reasons = []
        if self.mis_shaped:
            name, misfit = next(iter(self.mis_shaped.items()))
            reasons.append(
                f"{len(self.mis_shaped)} tensors have another shape, first {misfit.name}: "
                f"{list(misfit.came)} in the file, {list(misfit.expected)} in {name}"
            )
        if spoilt:
            reasons.append(f"{len(spoilt)} tensors hold NaN or infinite values, first {spoilt[0]}")
        if self.share < self.min_share:
            reasons.append(
                f"{self.share:.1%} of the parameters are filled, at least {self.min_share:.1%} "
                f"are asked for"
            )
        return tuple(reasons)

    @property
    def accepted(self) -> bool:
        """True if the weights may be used."""
        return not self.refusals

    def __str__(self) -> str:
        """The report as lines of text."""
        misfits = {
            f"{there.name} {list(there.came)}, expected {list(there.expected)}": ""
            for there in self.mis_shaped.values()
        }
        counts = f"{len(self.loaded)} of {self.tensors} tensors"
        filled = f"{self.parameters_filled:,} of {self.parameters:,} parameters ({self.share:.1%})"
        lines = [
            ("file", self.source),
            ("layout", self.layout),
            ("target", self.target),
            ("loaded", f"{counts}, {filled}"),
            ("renamed", _rule(self.renamed)),
            ("missing", _listing(dict.fromkeys(self.missing, ""))),
            ("mis-shaped", _listing(misfits)),
            ("not finite", _listing({n: f"{c} values" for n, c in self.not_finite.items()})),
            ("unexpected", _listing(dict.fromkeys(self.unexpected, ""))),
            *(("ignored", group) for group in _by_reason(self.ignored)),
            ("computed", _listing(dict.fromkeys(self.computed, ""), most=2)),
            *(("converted", group) for group in _by_reason(self.converted)),
            *(("chosen", choice) for choice in self.chosen),
        ]
        lines.append(("verdict", "accepted" if self.accepted else "; ".join(self.refusals)))
        return "\n".join(f"{name:<11} {text}" for name, text in lines if text)


class CheckpointError(ValueError):
    """Weights that are refused; `report` says what became of every name.

    Args:
        message: what was expected, what came, what to do.
        report: the doctor's.
    """

    def __init__(self, message: str, report: Report):
        super().__init__(f"{message}\n{report}")
        self.report = report


def diagnose(
    tensors: Mapping[str, Tensor],
    module: nn.Module,
    place: Callable[[str], str | None],
    *,
    reason: Callable[[str], str | None] = lambda name: None,
    about: Report,
) -> Report:
    """Compare a file's tensors with a module's, touching neither.

    Args:
        tensors: of the file, by their names there.
        module: what is to be filled.
        place: name in the file -> name in the module, or None where it has none.
        reason: name in the file -> why it may be left out, or None if nobody knows it.
        about: a report with source, layout and target, and what was left out before.
    """
    state = module.state_dict()
    wanted = {name: value for name, value in state.items() if value.is_floating_point()}
    loaded: dict[str, str] = {}
    mis_shaped: dict[str, Misfit] = {}
    not_finite: dict[str, int] = {}
    converted: dict[str, str] = {}
    ignored, unexpected = dict(about.ignored), []
    for there, tensor in tensors.items():
        name = place(there)
        spoilt = _count_spoilt(tensor)
        if spoilt:
            not_finite[there] = spoilt
        if name is None or name not in state:
            why = reason(there)
            if why is None:
                unexpected.append(there)
            else:
                ignored[there] = why
        elif name in loaded or name in mis_shaped:
            first = loaded.get(name) or mis_shaped[name].name
            ignored[there] = f"a second tensor for {name}, after {first}"
        elif name not in wanted and tensor.shape == state[name].shape:
            if torch.equal(tensor.to(state[name].dtype), state[name]):
                ignored[there] = "equals what the module computes"
            else:
                mis_shaped[name] = Misfit(f"{there} (other values)", *[tuple(tensor.shape)] * 2)
        elif tensor.shape != state[name].shape or not tensor.is_floating_point():
            kind = "" if tensor.is_floating_point() else f" ({_dtype(tensor)})"
            mis_shaped[name] = Misfit(there + kind, tuple(tensor.shape), tuple(state[name].shape))
        else:
            loaded[name] = there
            if tensor.dtype != state[name].dtype:
                converted[name] = f"{_dtype(tensor)} -> {_dtype(state[name])}"
    return replace(
        about,
        loaded=loaded,
        missing=tuple(n for n in wanted if n not in loaded and n not in mis_shaped),
        computed=tuple(n for n in state if n not in wanted and n not in mis_shaped),
        mis_shaped=mis_shaped,
        not_finite=not_finite,
        converted=converted,
        ignored=ignored,
        unexpected=tuple(unexpected),
        parameters_filled=sum(wanted[name].numel() for name in loaded),
        parameters=sum(value.numel() for value in wanted.values()),
    )


def fill(module: nn.Module, tensors: Mapping[str, Tensor], report: Report) -> None:
    """Put the tensors in place, if the report accepts them; otherwise touch nothing.

    Raises:
        CheckpointError: if it does not, with the report.
    """
    if not report.accepted:
        raise CheckpointError(
            f"{report.target} should be filled from {report.source}, but "
            f"{'; '.join(report.refusals)}; give the file this model was saved to, or say what "
            "differs (encoder_settings, min_share)",
            report,
        )
    own = module.state_dict()  # shares its storage with the module
    with torch.no_grad():
        for name, there in report.loaded.items():
            own[name].copy_(tensors[there])


def _count_spoilt(tensor: Tensor) -> int:
    if not tensor.is_floating_point():
        return 0
    return tensor.numel() - int(torch.isfinite(tensor.float()).sum())


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _rule(renamed: Mapping[str, str], most: int = 4) -> str:
    """'(160) vision_encoder.* -> transformer.*' where one prefix became another."""
    rules: dict[str, int] = {}
    for name, there in renamed.items():
        ours, theirs = name.split("."), there.split(".")
        while ours and theirs and ours[-1] == theirs[-1]:
            ours.pop()
            theirs.pop()
        rule = f"{'.'.join([*theirs, '*'])} -> {'.'.join([*ours, '*'])}"
        rules[rule] = rules.get(rule, 0) + 1
    if not rules:
        return ""
    shown = [f"{rule} ({count})" for rule, count in list(rules.items())[:most]]
    more = f", and {len(rules) - most} more rules" if len(rules) > most else ""
    return f"{len(renamed)}: {', '.join(shown)}{more}"


def _listing(names: Mapping[str, str], most: int = 6) -> str:
    if not names:
        return ""
    shown = [f"{name}{f' ({note})' if note else ''}" for name, note in list(names.items())[:most]]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return f"{len(names)}: {', '.join(shown)}{more}"


def _by_reason(reasons: Mapping[str, str], most: int = 3) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason, []).append(name)
    parts = []
    for reason, names in groups.items():
        more = f", and {len(names) - most} more" if len(names) > most else ""
        parts.append(f"{len(names)} ({', '.join(names[:most])}{more}): {reason}")
    return parts
