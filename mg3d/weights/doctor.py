"""The checkpoint doctor: which tensor of a file goes where, and whether that is enough.

PyTorch's `load_state_dict(strict=False)` says nothing that anybody reads: a wrong prefix trains
from scratch, a half-filled encoder looks like a full one. Here every key of the file and every
key of the module ends up in a report, and too little is refused.

Source: released MG-3D downstream code, which loads non-strictly and never counts.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

MIN_SHARE = 0.95  # of the parameters of what is loaded


@dataclass(frozen=True)
class Misfit:
    """A tensor of another shape or type than the module's."""

    name: str  # its key in the file
    came: tuple[int, ...]
    expected: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """What became of every key of the file and of the module.

    Mappings go from the module's key to the file's, except `ignored` and `not_finite`, which are by
    the file's key, like `unexpected` and `stray`.
    """

    source: str  # file, or folder
    layout: str  # what kind of file it was taken for
    target: str  # what was to be filled
    loaded: dict[str, str] = field(default_factory=dict)  # module's key -> file's key
    missing: tuple[str, ...] = ()
    computed: tuple[str, ...] = ()  # index tables that the module makes itself
    mis_shaped: dict[str, Misfit] = field(default_factory=dict)
    not_finite: dict[str, int] = field(default_factory=dict)  # -> values that are NaN or infinite
    converted: dict[str, str] = field(default_factory=dict)  # -> type in the file
    ignored: dict[str, str] = field(default_factory=dict)  # left out for this reason
    unexpected: tuple[str, ...] = ()  # left out, for no known reason
    stray: tuple[str, ...] = ()  # the unexpected ones inside what is loaded: refused
    chosen: tuple[str, ...] = ()  # decisions that the keys alone did not make, with their reason
    parameters_filled: int = 0
    parameters: int = 0
    min_share: float = MIN_SHARE

    @property
    def renamed(self) -> dict[str, str]:
        """Loaded tensors with another key in the file: module's key -> file's key."""
        return {ours: theirs for ours, theirs in self.loaded.items() if ours != theirs}

    def fates(self) -> Iterator[tuple[str, str]]:
        """Every key of the file and every key of the module, with what became of it."""
        for ours, theirs in self.loaded.items():
            yield "loaded", theirs if theirs == ours else f"{theirs} -> {ours}"
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
        if self.stray:
            reasons.append(
                f"{len(self.stray)} tensors inside the {self.target} are of layers it does not "
                f"have, first {self.stray[0]}{_adapter_hint(self.stray)}"
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
            f"{misfit.name} {list(misfit.came)}, expected {list(misfit.expected)}": ""
            for misfit in self.mis_shaped.values()
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
    model_key: Callable[[str], str | None],
    *,
    reason: Callable[[str], str | None] = lambda checkpoint_key: None,
    is_inside: Callable[[str], bool] = lambda checkpoint_key: False,
    about: Report,
) -> Report:
    """Compare a file's tensors with a module's, touching neither.

    Args:
        tensors: of the file, by its keys.
        module: what is to be filled.
        model_key: key in the file -> key in the module, or None where it has none.
        reason: key in the file -> why it may be left out, or None if that is not known.
        is_inside: whether a key in the file belongs to what is loaded; if the module has no such
            tensor and there is no reason to leave it out, the file is refused.
        about: a report with source, layout and target, and what was left out before.
    """
    state = module.state_dict()
    wanted = {key: value for key, value in state.items() if value.is_floating_point()}
    loaded: dict[str, str] = {}
    mis_shaped: dict[str, Misfit] = {}
    not_finite: dict[str, int] = {}
    converted: dict[str, str] = {}
    ignored, unexpected = dict(about.ignored), []
    for checkpoint_key, tensor in tensors.items():
        key = model_key(checkpoint_key)
        spoilt = _count_spoilt(tensor)
        if spoilt:
            not_finite[checkpoint_key] = spoilt
        if key is None or key not in state:
            why = reason(checkpoint_key)
            if why is None:
                unexpected.append(checkpoint_key)
            else:
                ignored[checkpoint_key] = why
        elif key in loaded or key in mis_shaped:
            first = loaded.get(key) or mis_shaped[key].name
            ignored[checkpoint_key] = f"a second tensor for {key}, after {first}"
        elif key not in wanted and tensor.shape == state[key].shape:
            # A table of whole numbers may have been cast with the weights, to any precision.
            if torch.equal(tensor, state[key].to(tensor.dtype)):
                ignored[checkpoint_key] = "equals what the module computes"
            else:
                shapes = [tuple(tensor.shape)] * 2
                mis_shaped[key] = Misfit(f"{checkpoint_key} (other values)", *shapes)
        elif tensor.shape != state[key].shape or not tensor.is_floating_point():
            kind = "" if tensor.is_floating_point() else f" ({_dtype(tensor)})"
            mis_shaped[key] = Misfit(
                checkpoint_key + kind, tuple(tensor.shape), tuple(state[key].shape)
            )
        else:
            loaded[key] = checkpoint_key
            if tensor.dtype != state[key].dtype:
                converted[key] = f"{_dtype(tensor)} -> {_dtype(state[key])}"
    return replace(
        about,
        loaded=loaded,
        missing=tuple(key for key in wanted if key not in loaded and key not in mis_shaped),
        computed=tuple(key for key in state if key not in wanted and key not in mis_shaped),
        mis_shaped=mis_shaped,
        not_finite=not_finite,
        converted=converted,
        ignored=ignored,
        unexpected=tuple(unexpected),
        stray=tuple(filter(is_inside, unexpected)),
        parameters_filled=sum(wanted[key].numel() for key in loaded),
        parameters=sum(value.numel() for value in wanted.values()),
    )


def fill(module: nn.Module, tensors: Mapping[str, Tensor], report: Report) -> None:
    """Copy the tensors into the module, if the report accepts them; otherwise touch nothing.

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
    state = module.state_dict()  # shares its storage with the module
    with torch.no_grad():
        for model_key, checkpoint_key in report.loaded.items():
            state[model_key].copy_(tensors[checkpoint_key])


def _count_spoilt(tensor: Tensor) -> int:
    if not tensor.is_floating_point():
        return 0
    return tensor.numel() - int(torch.isfinite(tensor.float()).sum())


def _adapter_hint(stray: tuple[str, ...]) -> str:
    """What to do about tensors of LoRA and the like."""
    if any("lora_" in key or ".base_layer." in key for key in stray):
        return " (an adapter; merge it into the weights first, as by peft's merge_and_unload)"
    return ""


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _rule(renamed: Mapping[str, str], most: int = 4) -> str:
    """'(160) vision_encoder.* -> transformer.*' where one prefix became another."""
    rules: dict[str, int] = {}
    for model_key, checkpoint_key in renamed.items():
        ours, theirs = model_key.split("."), checkpoint_key.split(".")
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
