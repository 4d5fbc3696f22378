"""Parameter names of the released MG-3D checkpoints, and what they are called here: one table.

A released checkpoint is flat: `vision_encoder.` holds the encoder, `language_encoder.` the frozen
text encoder, everything else lies beside them. Here a `Pretraining` holds a `model.` and its
`objectives.`. A line of `RENAMED` names the same layer on both sides; `{i}` stands for a number
that both sides share. `UNUSED` lists what the released model holds and no loss uses.

Names only: whether a tensor fits, and what to do if it does not, is for the loader to say.

Source: released code (names and routing), Q9, Q11, Q16, Q23, Q27, Q30-Q35 of `docs/quirks.md`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = [
    "RENAMED",
    "UNUSED",
    "Sorted",
    "official_name",
    "our_name",
    "skip_block_name",
    "sort_official",
    "text_encoder_name",
    "why_unused",
]

Value = TypeVar("Value")


def _gates(official: str, ours: str, *, volume: int, text: int) -> dict[str, str]:
    """A stack of gated layers; the released one numbers its modalities, differently in each."""
    sides = (("volume", volume, text), ("text", text, volume))
    return {
        f"{official}.{{i}}.{name}": f"{ours}.layers.{{i}}.{side}.{layer}"
        for side, queries, keys in sides
        for name, layer in (
            (f"query{queries}", "gates.query"),
            (f"key{keys}", "gates.key"),
            (f"value{queries}", "value"),
        )
    }


def _pool(official: str, ours: str) -> dict[str, str]:
    """Attention pooling of sentences."""
    layers = {"q_proj": "query", "k_proj": "key", "v_proj": "value", "c_proj": "output"}
    return {f"{official}.{name}": f"{ours}.{layer}" for name, layer in layers.items()}


# Released module or parameter -> ours, in a `Pretraining`.
RENAMED: dict[str, str] = {
    # both modalities projected to one width
    "vision_encoder": "model.encoder.transformer",
    "multi_modal_vision_proj": "model.volume_projection",
    "multi_modal_language_proj": "model.text_projection",
    "modality_type_embeddings": "model.modality",
    # cross-attention: volume with sentences, words with volume
    **_gates("local_img_cross_multihead_attention", "model.sentence_fusion", volume=1, text=2),
    **_gates("local_text_cross_multihead_attention", "model.word_fusion", volume=2, text=1),
    # pooling: many tokens to one vector
    "uni_modal_vision_pooler.fc": "model.volume_pooler.weighting",
    "uni_modal_vision_pooler.dense": "model.volume_pooler.output",
    "multi_modal_vision_pooler.fc": "model.fused_volume_pooler.weighting",
    "multi_modal_vision_pooler.dense": "model.fused_volume_pooler.output",
    **_pool("uni_global_text_attention", "model.report_pooler"),
    **_pool("multi_global_text_attention", "model.fused_report_pooler"),
    # sentence values gated by the volume vector
    "agg_img_cross_attention.{i}.query2": "model.informed.layers.{i}.gates.query",
    "agg_img_cross_attention.{i}.key1": "model.informed.layers.{i}.gates.key",
    "agg_img_cross_attention.{i}.value1": "model.informed.layers.{i}.value",
    "multi_modal_agg_vision_pooler.dense": "model.informed.pooler",
    # hidden words; the transform serves MLM and SFR, and belongs to the model here
    "mlm_head.transform.dense": "model.word_transform.0",
    "mlm_head.transform.LayerNorm": "model.word_transform.2",
    "mlm_head.decoder.weight": "objectives.mlm.decoder.weight",
    "mlm_head.bias": "objectives.mlm.decoder.bias",
    "mlm_head.fc.0": "objectives.sfr.repaired.expand",
    "mlm_head.fc.3": "objectives.sfr.repaired.output",
    "uni_emd_sen.0": "objectives.sfr.target.0",
    "uni_emd_sen.2": "objectives.sfr.target.2",
    # hidden voxels: convolution, norm, activation and doubling are four layers each there
    "mim_swin_unter_head.conv.0": "objectives.mim.convolutions.0",
    "mim_swin_unter_head.conv.4": "objectives.mim.convolutions.1",
    "mim_swin_unter_head.conv.8": "objectives.mim.convolutions.2",
    "mim_swin_unter_head.conv.12": "objectives.mim.convolutions.3",
    "mim_swin_unter_head.conv.16": "objectives.mim.convolutions.4",
    "mim_swin_unter_head.conv.20": "objectives.mim.output",
    # heads of the contrastive objectives: "vision" is the fused side, "language" the other
    "itc_cross_head.vision_ln": "objectives.cml.fused_head.norm",
    "itc_cross_head.vision_proj": "objectives.cml.fused_head.projection",
    "itc_cross_head.language_ln": "objectives.cml.alone_head.norm",
    "itc_cross_head.language_proj": "objectives.cml.alone_head.projection",
    "itc_agg_head.vision_ln": "objectives.dfa.volume_head.norm",
    "itc_agg_head.vision_proj": "objectives.dfa.volume_head.projection",
    "itc_agg_head.language_ln": "objectives.dfa.aggregate_head.norm",
    "itc_agg_head.language_proj": "objectives.dfa.aggregate_head.projection",
    "multi_modal_sen_vision_pooler.dense.0": "objectives.ssm.head.expand",
    "multi_modal_sen_vision_pooler.dense.3": "objectives.ssm.head.output",
}

# Released module -> why nothing here takes its weights. None of them got a gradient.
UNUSED: dict[str, str] = {
    "multi_modal_vision_layers": "BERT cross-attention layers of an older fusion, never called",
    "multi_modal_language_layers": "BERT cross-attention layers of an older fusion, never called",
    "local_cross_attention": "sigmoid attention over the other side's values, never called (Q9)",
    "local_img_cross_multihead_attention.{i}.fc1": "built into the gates, never called (Q11)",
    "local_img_cross_multihead_attention.{i}.fc2": "built into the gates, never called (Q11)",
    "local_text_cross_multihead_attention.{i}.fc1": "built into the gates, never called (Q11)",
    "local_text_cross_multihead_attention.{i}.fc2": "built into the gates, never called (Q11)",
    "agg_text_cross_attention": "the reverse direction is computed and dropped (Q35)",
    "multi_modal_agg_vision_pooler.global_attention": "the pooler takes a plain mean (Q16)",
    "uni_modal_language_pooler": "reports are pooled by attention instead (Q16)",
    "multi_modal_language_pooler": "reports are pooled by attention instead (Q16)",
    "mim_swin_unter_head.fc": "a side output that no loss uses (Q27)",
    "uni_emd_img": "no loss uses it (Q35)",
    "itc_head": "a third contrastive head, never called (Q35)",
    "language_encoder.pooler": "BERT's pooler is never called (Q7)",
    "language_encoder.embeddings.position_ids": "0, 1, 2, ...: counted anew by every version",
}

TEXT_ENCODER = "language_encoder"  # frozen; no part of a `Pretraining`'s state
SKIP_BLOCK = re.compile(r"vision_encoder\.(encoder\d+\..+)")  # Swin-L only: UNETR's, parallel to it


def our_name(official: str) -> str | None:
    """What a released parameter is called in a `Pretraining`; None if it has no counterpart."""
    elsewhere = why_unused(official) or skip_block_name(official)
    return None if elsewhere else _rename(official, _TO_OURS)


def official_name(ours: str) -> str | None:
    """What a parameter of a `Pretraining` is called in a released checkpoint; None if in none."""
    return _rename(ours, _TO_OFFICIAL)


def text_encoder_name(official: str) -> str | None:
    """What a released parameter is called in its BERT (`TextEncoder.model`); None if elsewhere."""
    inside = official.startswith(f"{TEXT_ENCODER}.") and not why_unused(official)
    return official.removeprefix(f"{TEXT_ENCODER}.") if inside else None


def skip_block_name(official: str) -> str | None:
    """What a released parameter is called in MONAI's `SwinUNETR`, if it is of a skip block."""
    match = SKIP_BLOCK.fullmatch(official)
    return match[1] if match else None


def why_unused(official: str) -> str | None:
    """Why a known released parameter has no counterpart; None if it has one, or is unknown."""
    return next((why for pattern, why in _UNUSED if pattern.fullmatch(official)), None)


@dataclass(frozen=True)
class Sorted(Generic[Value]):
    """What a released checkpoint holds, each kind under the names of its destination."""

    pretraining: dict[str, Value]  # by the names of a `Pretraining`
    text_encoder: dict[str, Value]  # by the names of the BERT behind a `TextEncoder`
    skip_blocks: dict[str, Value]  # Swin-L: by the names of MONAI's `SwinUNETR`
    unused: dict[str, str]  # official name -> reason
    unknown: tuple[str, ...]  # official names that no table knows


def sort_official(checkpoint: Mapping[str, Value]) -> Sorted[Value]:
    """Sort a released checkpoint by where its values go; whatever they are, they stay as they are.

    Args:
        checkpoint: official name -> tensor (or shape, or anything).
    """

    def placed(rename: Callable[[str], str | None]) -> dict[str, Value]:
        names = ((rename(official), value) for official, value in checkpoint.items())
        return {name: value for name, value in names if name}

    kinds = (our_name, text_encoder_name, skip_block_name, why_unused)
    return Sorted(
        pretraining=placed(our_name),
        text_encoder=placed(text_encoder_name),
        skip_blocks=placed(skip_block_name),
        unused={name: reason for name in checkpoint if (reason := why_unused(name))},
        unknown=tuple(name for name in checkpoint if not any(kind(name) for kind in kinds)),
    )


def _pattern(template: str) -> re.Pattern[str]:
    """The layer of this name, or anything inside it."""
    layer = re.escape(template).replace(re.escape("{i}"), r"(?P<i>\d+)")
    return re.compile(layer + r"(?P<inside>(\..+)?)")


def _rules(pairs: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    return [(_pattern(old), new) for old, new in pairs]


def _rename(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, new in rules:
        if match := pattern.fullmatch(name):
            return new.format_map(match.groupdict()) + match["inside"]
    return None


_TO_OURS = _rules(RENAMED.items())
_TO_OFFICIAL = _rules((ours, official) for official, ours in RENAMED.items())
_UNUSED = _rules(UNUSED.items())
