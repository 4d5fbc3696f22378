"""`load_pretrained`: any checkpoint of a Swin built on MONAI's names, and every one of our own.

It reads, says in a report what became of every tensor, and returns a filled module, or refuses:
weights that fill too little, hold other shapes or other layers, or are not finite.

Source: released MG-3D downstream code, whose checkpoints are flat, with the encoder under
`vision_encoder.`; Q18-Q24 of `docs/quirks.md`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mg3d.config import PRESETS, PretrainConfig, change, parse_config
from mg3d.encoders import Encoder, build_encoder
from mg3d.model import MG3D, build_model
from mg3d.pretrained import released_names
from mg3d.pretrained.find import PARTS, Origin, find_weights
from mg3d.pretrained.layouts import (
    RELEASED,
    Layout,
    has_conv_blocks,
    recognise,
    size_name,
    swin_settings,
)
from mg3d.pretrained.released_model import model_kind
from mg3d.pretrained.shipped import check_example, find_shipped
from mg3d.pretrained.wrappers import refuse_two_versions, unwrap
from mg3d.text.encoder import TextEncoder
from mg3d.training.step import Pretraining, build_pretraining
from mg3d.weights.doctor import MIN_SHARE, Report, diagnose, fill
from mg3d.weights.files import WeightFile, read_weights
from mg3d.weights.hub import find_folder

# What the keys of the smaller part begin with inside the larger one.
_INSIDE = {
    ("pretraining", "model"): "model.",
    ("pretraining", "encoder"): "model.encoder.",
    ("model", "encoder"): "encoder.",
}


@dataclass(frozen=True)
class Loaded:
    """A module filled with weights, and the doctor's report about them."""

    module: nn.Module
    report: Report
    skip_blocks: Mapping[str, Tensor]  # of MONAI's SwinUNETR, where the file had them

    @property
    def encoder(self) -> Encoder:
        """The vision encoder, whatever part was asked for."""
        if isinstance(self.module, Encoder):
            return self.module
        return self.model.encoder

    @property
    def model(self) -> MG3D:
        """Encoders and fusion.

        Raises:
            ValueError: if only the encoder was loaded.
        """
        module = self.module.model if isinstance(self.module, Pretraining) else self.module
        if not isinstance(module, MG3D):
            raise ValueError("only the encoder was loaded; ask for part='model'")
        return module


def load_pretrained(
    path_or_id: str | Path,
    *,
    part: str = "encoder",
    merging: str | None = None,
    encoder_settings: Mapping[str, Any] | None = None,
    config: PretrainConfig | None = None,
    text_encoder: TextEncoder | None = None,
    min_share: float = MIN_SHARE,
    filename: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    log: Callable[[str], object] = print,
) -> Loaded:
    """Read weights, check them, fill a module with them; report what became of each.

    Reads our runs, checkpoints and `save_pretrained` folders; released MG-3D checkpoints; MONAI's
    SwinUNETR and what was built on it. The module comes in evaluation mode, on the CPU, in float32.
    `load_pretrained("tiny")` gives the weights that come with the package, trained on phantom
    patients.

    Args:
        path_or_id: a file, a folder, a name of `mg3d.pretrained.shipped`, or "someone/model" on the
            hub.
        part: "encoder"; "model" (with the fusion); or "pretraining" (with the objectives' heads).
        merging: "released" or "monai", where the layout's own choice is wrong.
        encoder_settings: of the encoder, where they are not those of Swin-B or Swin-L, or to
            change what is not saved, such as `checkpointing`.
        config: of a whole model from a released checkpoint; None: the preset of its size.
        text_encoder: of a whole model, already loaded; None: the one its settings name.
        min_share: of the module's parameters that the file must fill, 0 to 1.
        filename: the file to take of a hub repository that mg3d did not write.
        revision: of the hub's repository.
        token: for private repositories.
        log: gets the report, also of what is refused.

    Raises:
        FileNotFoundError: if there is no such path, and no such name on the hub.
        CheckpointError: a ValueError, if the weights are refused; it carries the report.
        ValueError: if the file holds no weights, or not of anything known here; if shipped weights
            no longer fit the library's numbers.
    """
    if part not in PARTS:
        raise ValueError(f"part is one of {', '.join(PARTS)}; got '{part}'")
    if not 0 <= min_share <= 1:
        raise ValueError(f"min_share is a share between 0 and 1, got {min_share}")
    shipped = find_shipped(path_or_id)
    path = shipped or find_folder(path_or_id, filename=filename, revision=revision, token=token)
    origin = find_weights(path)
    file = read_weights(origin.weights)
    settings = dict(encoder_settings or {}) | ({"merging": merging} if merging else {})
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and all of them replaced
        if origin.held:
            plan = _plan_ours(origin, part, settings, text_encoder)
        elif part == "encoder":
            plan = _plan_encoder(file, settings)
        else:
            plan = _plan_released(file, part, settings, config, text_encoder)
    about = replace(
        plan.about,
        source=str(file.path),
        ignored=file.left_out,
        min_share=min_share,
        chosen=_wrapped(file) + plan.about.chosen,
    )
    relevant = [key for key in file.tensors if plan.model_key(key) or key in plan.skip_blocks]
    refuse_two_versions(file.tensors, relevant, file.path)
    report = diagnose(
        file.tensors, plan.module, plan.model_key,
        reason=plan.reason, is_inside=plan.is_inside, about=about,
    )  # fmt: skip
    log(str(report))
    fill(plan.module, file.tensors, report)
    skips = {ours: file.tensors[theirs] for theirs, ours in plan.skip_blocks.items()}
    if shipped and not settings and text_encoder is None:  # otherwise another model was asked for
        check_example(plan.module, shipped)
    return Loaded(plan.module.eval(), report, skips)


@dataclass(frozen=True)
class _Plan:
    """A module with fresh weights, and how the file's keys lead into it; see `diagnose`."""

    module: nn.Module
    model_key: Callable[[str], str | None]
    reason: Callable[[str], str | None]
    is_inside: Callable[[str], bool]
    skip_blocks: dict[str, str]  # key in the file -> in MONAI's SwinUNETR
    about: Report


def _plan_ours(
    origin: Origin,
    part: str,
    settings: dict[str, Any],
    text_encoder: TextEncoder | None,
) -> _Plan:
    held, saved = origin.held, origin.config or {}
    if PARTS.index(part) > PARTS.index(held):
        raise ValueError(
            f"{origin.weights} holds a '{held}', and a '{part}' is more than that; ask for "
            f"part='{held}', or give the folder of the run"
        )
    start = _INSIDE.get((held, part), "")
    if held == "encoder":
        name, built_with = saved["encoder"], saved["encoder_settings"]
    else:
        config = parse_config(saved.get("settings", saved), origin.weights.parent)
        name, built_with = config.network.encoder, config.network.encoder_settings
    asked = {**built_with, **settings}
    if part == "encoder":
        module: nn.Module = build_encoder(name, **asked)
    else:
        module = _build(part, change(config, encoder_settings=asked), text_encoder)

    def is_inside(key: str) -> bool:
        return key.startswith(start)

    def model_key(key: str) -> str | None:
        return key.removeprefix(start) if is_inside(key) else None

    def reason(key: str) -> str | None:
        return None if is_inside(key) else f"of a '{held}', outside its '{part}'"

    changed = "".join(f"; {key}={value!r} as asked" for key, value in settings.items())
    chosen = (f"encoder '{name}' with the settings saved beside it{changed}",)
    return _Plan(module, model_key, reason, is_inside, {}, _about(module, origin.layout, chosen))


def _plan_encoder(file: WeightFile, settings: dict[str, Any]) -> _Plan:
    layout = recognise(file.tensors)
    if layout.kind != RELEASED and has_conv_blocks(file.tensors):
        raise ValueError(
            f"{file.path} is a SwinUNETR v2, with a conv block ahead of each stage "
            "('layers1c', ...); this encoder has none, and its features would be others without "
            "them; use it in monai.networks.nets.SwinUNETR(use_v2=True)"
        )
    shapes = _shapes(file, layout)
    # A volume here has one channel; an encoder for several is read where that is asked for.
    told = {key: value for key, value in shapes.items() if key != "input_channels"}
    asked = {**told, "merging": layout.merging, **settings}
    try:
        module = build_encoder("swin3d", **asked)
    except ValueError as error:
        raise ValueError(f"{file.path}, whose shapes say {shapes}: {error}") from error
    how = "as asked" if "embed_dim" in settings else "told by the shapes"
    chosen = [f"{size_name(int(str(asked.get('embed_dim', 48))))}: {how}"]
    unusual = {key: value for key, value in shapes.items() if _USUAL[key] != value}
    taken = [f"{key} {value}" for key, value in unusual.items() if key in told.keys() - settings]
    if taken:
        chosen.append(f"{', '.join(taken)}: told by the shapes")
    why = "as asked" if "merging" in settings else layout.why
    chosen.append(f"merging '{asked['merging']}': {why}")
    if layout.kind == RELEASED and has_conv_blocks(file.tensors):
        chosen.append("conv blocks ahead of the stages left out: no released encoder calls them")
    if other := {
        key: value for key, value in shapes.items() if asked.get(key, _USUAL[key]) != value
    }:
        hint = ", ".join(f"{key!r}: {value}" for key, value in other.items())
        chosen.append(f"shapes in the file suggest encoder_settings={{{hint}}}")

    def model_key(key: str) -> str | None:
        inside = layout.model_key(key)
        return f"transformer.{inside}" if inside else None

    return _Plan(
        module, model_key, layout.reason, layout.is_inside, _skip_blocks(file, layout),
        _about(module, f"{layout.kind}, prefix '{layout.prefix}'", tuple(chosen)),
    )  # fmt: skip


def _shapes(file: WeightFile, layout: Layout) -> dict[str, object]:
    """Settings of the encoder as far as the file's shapes tell them."""
    return swin_settings(
        {inside: t for key, t in file.tensors.items() if (inside := layout.model_key(key))}
    )


def _skip_blocks(file: WeightFile, layout: Layout) -> dict[str, str]:
    return {key: ours for key in file.tensors if (ours := layout.skip_block(key))}


# What `Swin3DEncoder` does unless it is told otherwise.
_USUAL: dict[str, Any] = {
    "embed_dim": 48,
    "depths": (2, 2, 2, 2),
    "num_heads": (3, 6, 12, 24),
    "window": 7,
    "patch": 2,
    "input_channels": 1,
}


def _plan_released(
    file: WeightFile,
    part: str,
    settings: dict[str, Any],
    config: PretrainConfig | None,
    text_encoder: TextEncoder | None,
) -> _Plan:
    layout = recognise(file.tensors)
    if layout.kind != RELEASED:
        raise ValueError(
            f"{file.path} is {layout.kind}, which holds an encoder and no '{part}' of MG-3D; ask "
            "for part='encoder'"
        )
    front = layout.prefix.removesuffix("vision_encoder.")  # 'model.', of a model held by another
    shapes = _shapes(file, layout)
    size = shapes.get("embed_dim", 48)
    chosen: tuple[str, ...] = ("settings as given",)
    if config is None:
        preset = "swin_l" if size == 96 else "swin_b"
        config = PRESETS[preset]
        chosen = (f"settings of preset '{preset}': {size_name(int(str(size)))} by the shapes",)
    told = {
        key: value
        for key, value in shapes.items()
        if key != "input_channels" and _USUAL[key] != value
    }
    given = config.network.encoder_settings
    config = change(config, encoder_settings={**told, **given, **settings})
    start = _INSIDE.get(("pretraining", part), "")
    module = _build(part, config, text_encoder)

    def pretraining_key(key: str) -> str | None:
        official = unwrap(key)
        if not official.startswith(front):
            return None
        return released_names.our_name(official.removeprefix(front))

    def model_key(key: str) -> str | None:
        ours = pretraining_key(key)
        return ours.removeprefix(start) if ours and ours.startswith(start) else None

    def reason(key: str) -> str | None:
        official = unwrap(key).removeprefix(front)
        known = pretraining_key(key)
        if known and not known.startswith(start):
            return f"an objective's head, outside the '{part}'"
        if known and known.startswith("objectives."):
            return "a head of an objective that these settings leave out"
        if released_names.text_encoder_name(official):
            return "the frozen text encoder, which settings name and no checkpoint fills"
        return layout.reason(key)

    return _Plan(
        module, model_key, reason, layout.is_inside, _skip_blocks(file, layout),
        _about(module, f"{layout.kind}, prefix '{layout.prefix}'", chosen),
    )  # fmt: skip


def _build(part: str, config: PretrainConfig, text_encoder: TextEncoder | None) -> nn.Module:
    build = build_model if part == "model" else build_pretraining
    return build(config, text_encoder, kind=model_kind(config))


def _about(module: nn.Module, layout: str, chosen: tuple[str, ...]) -> Report:
    return Report(source="", layout=layout, target=type(module).__name__, chosen=chosen)


def _wrapped(file: WeightFile) -> tuple[str, ...]:
    return (f"weights in '{file.wrapper}' of the file",) if file.wrapper else ()
