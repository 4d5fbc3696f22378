"""Which network a checkpoint is of, told from its keys and shapes, never from the file's name.

What is looked for are the names MONAI gave the 3D Swin Transformer, which the released MG-3D
checkpoints, MONAI's SwinUNETR and the weights built on it (Swin UNETR's self-supervised ones, VoCo,
SuPreM) all share; they differ in what stands in front. Wrappers (`wrappers`) and the name of the
attribute that holds the network make no difference. A file cannot say which patch merging it was
trained with, so the layout decides and the report says why:

- MG-3D and everything trained before MONAI repaired the merging (pull request 8285 of January 2025)
  took two of eight neighbours twice: `merging="released"`;
- a SwinUNETR trained since then took all eight: `merging="monai"`.

Source: released MG-3D downstream code (names); MONAI's `SwinUNETR.load_from` (names of the
self-supervised weights); Q18, Q19 and Q24 of `docs/quirks.md`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mg3d.pretrained.released_names import RENAMED, why_unused
from mg3d.pretrained.wrappers import unwrap

RELEASED, MONAI, OURS = "released MG-3D", "MONAI SwinUNETR", "mg3d, without its config"
DESCENDANT, BARE = "built on MONAI's Swin (VoCo, SuPreM or the like)", "Swin Transformer alone"

_SWIN = re.compile(
    r"(?P<prefix>(?:.*\.)?)(?P<name>(?:patch_embed\.proj|layers[1-4]\.\d+\.(?:blocks|downsample))\..+)"
)
_CONV_BLOCK = re.compile(r"(?:.*\.)?layers[1-4]c\..+")
_SKIP_BLOCK = re.compile(r"encoder(?:1|2|3|4|10)\..+")
_DECODER = re.compile(r"(?:decoder\d+|out|decoder)\..+")
_OLD_NAMES = {".mlp.fc1.": ".mlp.linear1.", ".mlp.fc2.": ".mlp.linear2."}
_SWIN_NAMES = {"swinvit", "swin_vit"}
# What stands in front of weights that were trained on MONAI's Swin before its merging was repaired.
_DESCENDANT_NAMES = {"backbone", "student", "teacher"}
# Copies that follow a trained network; the network itself is preferred where both are in a file.
_FOLLOWERS = {"teacher", "ema", "ema_model", "model_ema", "ema_encoder", "momentum_encoder"}
# What belongs to a Swin Transformer even where nothing but its prefix is known.
_PART_OF_SWIN = re.compile(r"(?:patch_embed|layers\d|norm\d*\.|pos_|absolute_pos|rel_pos).*")

# Prefixes of other networks, for a message that says what the file is instead.
_STRANGERS = {
    "model.encoder.": "a run of mg3d, away from its state.json; give the run's folder",
    "visual_transformer.": "CT-CLIP's CTViT",
    "text_transformer.": "CT-CLIP's text encoder",
    "bert.": "a text encoder (BERT)",
    "language_encoder.": "the text encoder of MG-3D",
    "embeddings.word_embeddings": "a text encoder (BERT)",
    "text_model.": "a text encoder",
    "encoder.stages.": "an nnU-Net",
    "conv1.": "a ResNet",
    "vit.": "a plain vision transformer",
}


@dataclass(frozen=True)
class Layout:
    """How a file names the encoder's tensors."""

    kind: str
    prefix: str  # of the Swin transformer's names
    root: str  # of what it is a part of: skip blocks and decoder stand here
    merging: str
    why: str  # that merging

    def model_key(self, checkpoint_key: str) -> str | None:
        """Key in the file -> key in MONAI's transformer; None if it is not part of it."""
        match = _SWIN.fullmatch(unwrap(checkpoint_key))
        if not match or match["prefix"] != self.prefix:
            return None
        key = match["name"]
        for old, new in _OLD_NAMES.items():
            key = key.replace(old, new)
        return key

    def is_inside(self, checkpoint_key: str) -> bool:
        """Is it part of the transformer, whether or not the transformer here has such a layer?"""
        key = unwrap(checkpoint_key)
        if not key.startswith(self.prefix):
            return False
        last = self.prefix.split(".")[-2].lower() if self.prefix else ""
        # Below these, what is not part of the transformer has a `reason` to be left out.
        alone = last in _SWIN_NAMES | {"transformer", "vision_encoder"}
        return alone or bool(_PART_OF_SWIN.fullmatch(key.removeprefix(self.prefix)))

    def skip_block(self, checkpoint_key: str) -> str | None:
        """Key in the file -> key in MONAI's SwinUNETR, for its blocks beside the transformer."""
        key = unwrap(checkpoint_key)
        beside = key.removeprefix(self.root)
        if not key.startswith(self.root) or not _SKIP_BLOCK.fullmatch(beside):
            return None
        return beside

    def reason(self, checkpoint_key: str) -> str | None:
        """Why a key that the encoder has no use for may be left out; None if it is unknown."""
        key = unwrap(checkpoint_key)
        if key.endswith("relative_position_index") or key.endswith("position_ids"):
            return "an index table, counted anew"
        if key.endswith("num_batches_tracked"):
            return "a counter of batch norm"
        if self.skip_block(key):
            return "a skip block of SwinUNETR, kept for to_swin_unetr"
        if _CONV_BLOCK.fullmatch(key):
            return "a conv block ahead of a stage, which the released encoder never calls"
        if self.is_inside(key):
            return None
        match = _SWIN.fullmatch(key)
        if match and match["prefix"] != self.prefix:
            return f"a second encoder, '{match['prefix']}'"
        if _DECODER.fullmatch(key.removeprefix(self.root)):
            return "SwinUNETR's decoder"
        if self.kind == OURS and key.startswith(("model.", "objectives.")):
            return "mg3d outside the encoder"
        if self.kind == RELEASED:
            official = key.removeprefix(self.prefix.removesuffix("vision_encoder."))
            return why_unused(official) or _rest_of_mg3d(official)
        return None


def recognise(checkpoint_keys: Iterable[str]) -> Layout:
    """The layout most of the keys follow.

    Raises:
        ValueError: if there is nothing of a 3D Swin Transformer; the message says what there is.
    """
    keys = list(checkpoint_keys)
    matches = [match for match in map(_SWIN.fullmatch, map(unwrap, keys)) if match]
    if not matches:
        raise ValueError(_stranger(keys))
    votes = Counter(match["prefix"] for match in matches)
    most = max(votes.values())
    # A student and its teacher hold the same keys: the student, or else the first in the file.
    fullest = [prefix for prefix, count in votes.items() if count == most]
    prefix = min(fullest, key=lambda prefix: not _FOLLOWERS.isdisjoint(prefix.split(".")))
    parts = [part.lower() for part in prefix.split(".") if part]
    inside_unetr = bool(parts) and parts[-1] in _SWIN_NAMES
    root = prefix.removesuffix(prefix.split(".")[-2] + ".") if inside_unetr else prefix
    old = any(".mlp.fc1." in match["name"] for match in matches)
    if "vision_encoder" in parts:
        return Layout(RELEASED, prefix, prefix, "released", "MG-3D was trained with it")
    if parts and parts[-1] == "transformer" and (len(parts) == 1 or parts[-2] == "encoder"):
        why = "the usual one here; the settings saved beside the file would say, so keep them"
        return Layout(OURS, prefix, prefix, "released", why)
    if inside_unetr and _DESCENDANT_NAMES.isdisjoint(parts) and not old:
        why = (
            "a plain SwinUNETR file is taken to come from the MONAI installed here; if it was "
            "trained before 2025 (MONAI's model zoo, BTCV), say merging='released'"
        )
        return Layout(MONAI, prefix, root, "monai", why)
    why = (
        "published weights of this kind were trained before MONAI repaired it (January 2025); if "
        "these are younger, say merging='monai'"
    )
    return Layout(DESCENDANT if parts else BARE, prefix, root, "released", why)


def has_conv_blocks(checkpoint_keys: Iterable[str]) -> bool:
    """Is there a residual conv block ahead of a stage ("v2" of SwinUNETR)?"""
    return any(_CONV_BLOCK.fullmatch(unwrap(key)) for key in checkpoint_keys)


def swin_settings(tensors: Mapping[str, Tensor]) -> dict[str, object]:
    """Settings of a `Swin3DEncoder` as far as shapes tell them.

    Args:
        tensors: by the names of MONAI's transformer. What is missing is not told.
    """
    settings: dict[str, object] = {}
    patches = tensors.get("patch_embed.proj.weight")
    if patches is not None and patches.ndim == 5:
        settings["embed_dim"] = patches.shape[0]
        settings["patch"] = patches.shape[2]
        settings["input_channels"] = patches.shape[1]
    elif "layers1.0.blocks.0.norm1.weight" in tensors:
        settings["embed_dim"] = tensors["layers1.0.blocks.0.norm1.weight"].shape[0]
    tables = [
        tensors.get(f"layers{stage}.0.blocks.0.attn.relative_position_bias_table")
        for stage in (1, 2, 3, 4)
    ]
    if tables[0] is not None:
        settings["window"] = (round(tables[0].shape[0] ** (1 / 3)) + 1) // 2
    heads = [table.shape[1] for table in tables if table is not None and table.ndim == 2]
    if len(heads) == 4:
        settings["num_heads"] = tuple(heads)
    blocks = [re.match(r"layers([1-4])\.0\.blocks\.(\d+)\.", key) for key in tensors]
    depths = [
        1 + max((int(match[2]) for match in blocks if match and match[1] == stage), default=-1)
        for stage in "1234"
    ]
    if all(depths):
        settings["depths"] = tuple(depths)
    return settings


def size_name(embed_dim: int) -> str:
    """'Swin-B', 'Swin-L', or what else an embedding of this width is."""
    known = {48: "Swin-B", 96: "Swin-L"}.get(embed_dim, "neither Swin-B nor Swin-L")
    return f"{known}, embedding {embed_dim}"


def _rest_of_mg3d(name: str) -> str | None:
    if name.startswith("language_encoder."):
        return "the frozen text encoder"
    layer = name
    while layer:
        template = re.sub(r"\.\d+(?=\.)", ".{i}", layer, count=1)
        if layer in RENAMED or template in RENAMED:
            return "MG-3D outside the encoder; part='pretraining' reads it"
        layer = layer.rpartition(".")[0]
    return None


def _stranger(names: list[str]) -> str:
    who = next(
        (who for start, who in _STRANGERS.items() if any(n.startswith(start) for n in names)), None
    )
    examples = ", ".join(names[:3]) or "none at all"
    known = f"; this looks like {who}" if who else ""
    return (
        "a 3D Swin Transformer was expected (names like 'patch_embed.proj.weight' and "
        f"'layers1.0.blocks.0...'), but none of {len(names)} names is of one; the first are "
        f"{examples}{known}; give a checkpoint of MG-3D, or of a network built on MONAI's SwinUNETR"
    )
