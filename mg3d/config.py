"""Every number a run depends on. A preset is a starting point; change it with `replace`.

The defaults of `PretrainConfig` are the paper's settings, as its released code runs them. A preset
changes sizes and steps, never the code path. Where the released code departs from its paper by a
slip, `paper` follows the paper, like every preset; `quirks=RELEASED_QUIRKS` follows the code, which
is what published weights need where their fusion is used.

Source: MG-3D (arXiv 2412.05876), implementation details; released code for the schedule.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

__all__ = [
    "PRESETS",
    "RELEASED_QUIRKS",
    "LossWeights",
    "PretrainConfig",
    "Quirks",
    "choose_objectives",
    "find_preset",
    "read_config",
    "replace",
    "write_config",
]

PRECISIONS = ("no", "fp16", "bf16")


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each objective in the total; the defaults are the paper's, 0 switches it off."""

    mim: float = 1.0  # masked image modelling
    mlm: float = 1.0  # masked language modelling
    sfr: float = 0.1  # sentence feature reconstruction
    cml: float = 0.1  # cross-modal global alignment
    dfa: float = 0.1  # disentangled feature aggregation
    ssm: float = 0.1  # sentence similarity matching
    clip: float = 0.0  # plain report-to-volume InfoNCE; not in the paper

    def __post_init__(self) -> None:
        negative = [name for name in self.names() if getattr(self, name) < 0]
        if negative or not self.active():
            raise ValueError(
                "loss weights must be 0 or larger, and one of them above 0; "
                f"got {asdict(self)}; set the ones you leave out to 0"
            )

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Every objective that has a weight."""
        return tuple(item.name for item in fields(cls))

    def active(self) -> dict[str, float]:
        """The objectives that are switched on, with their weights."""
        return {name: getattr(self, name) for name in self.names() if getattr(self, name) > 0}

    def only(self, *names: str) -> "LossWeights":
        """Keep these objectives at their weights (at 1 where the weight was 0), drop the others."""
        _check_names(names)
        return LossWeights(**{n: (getattr(self, n) or 1.0) * (n in names) for n in self.names()})

    def without(self, *names: str) -> "LossWeights":
        """Drop these objectives."""
        _check_names(names)
        return replace(self, **dict.fromkeys(names, 0.0))


def _check_names(names: tuple[str, ...]) -> None:
    unknown = [name for name in names if name not in LossWeights.names()]
    if unknown:
        raise ValueError(f"objectives are {', '.join(LossWeights.names())}; got {unknown}")


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """Where the released code does something else than the paper says; the defaults are the paper.

    The published weights were trained with all of them (`RELEASED_QUIRKS`), so that what they give
    beyond the vision encoder is theirs only with the quirks on. `docs/quirks.md` tells each story.
    """

    mim_reads_words: bool = False  # Q2: MIM meets words, in MLM's fusion, instead of sentences
    project_twice: bool = False  # Q3: where a volume meets sentences, it is projected twice
    detach_sentences: bool = False  # Q5: no gradient through the text side of CML, DFA and SSM
    padded_to: int = 0  # Q10: pad reports to so many tokens, which the gates count like words

    def __post_init__(self) -> None:
        if self.padded_to < 0:
            raise ValueError(
                f"padded_to is a number of tokens, 250 as released, or 0: got {self.padded_to}"
            )


RELEASED_QUIRKS = Quirks(
    mim_reads_words=True, project_twice=True, detach_sentences=True, padded_to=250
)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pre-training run. The defaults are the paper's."""

    # the volume, axes (inferior-superior, posterior-anterior, left-right)
    volume_shape: tuple[int, int, int] = (128, 96, 128)  # voxels
    spacing_mm: tuple[float, float, float] | None = None  # None: crop, then stretch to the shape
    crop: tuple[float, float, float] = (0.88, 0.65625, 0.875)  # central share kept of each axis
    hu_window: tuple[float, float] = (-1000.0, 1000.0)  # becomes 0 to 1

    # the network
    encoder: str = "swin3d"  # a key of mg3d.encoders.ENCODERS
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)  # its keyword arguments
    text_encoder: str = "StanfordAIMI/RadBERT"  # "embedded", a folder, or a hub id
    max_tokens: int = 250  # of a report, with [CLS] and [SEP]
    dim: int = 768  # fusion width d
    fusion_layers: int = 2
    attention: str = "gated"  # a key of mg3d.attention.ATTENTIONS
    quirks: Quirks = field(default_factory=Quirks)  # of the released code; none, if not asked for

    # what is hidden
    mask_block: int = 16  # edge of a hidden block, voxels
    voxel_mask_ratio: float = 0.5
    word_mask_ratio: float = 0.15
    mim_output_stride: int = 1  # 2: reconstruct at half the resolution
    mim_from_mean: bool = False  # True: guess the difference from the mean training volume

    # how a training volume is changed each time it is shown; see mg3d/data/augment.py
    jitter_shift: int = 0  # voxels, at most, along each axis
    jitter_contrast: float = 0.0  # standard deviation of a factor
    jitter_brightness: float = 0.0  # standard deviation of an offset, 1 = the HU window
    jitter_noise: float = 0.0  # standard deviation in every voxel, 1 = the HU window

    # the objectives
    weights: LossWeights = field(default_factory=LossWeights)
    temperature: float = 0.1  # of every contrastive objective
    sfr_learn_target: bool = True  # False: a fixed random target, which cannot collapse
    clip_text: str = "vector"  # what CLIP compares volumes with: "vector" or "words", see clip.py

    # the optimisation
    batch_size: int = 16  # patients, over all processes, per optimiser step
    accumulation: int = 1  # micro-batches the batch is split into on each process
    optimiser: str = "adam"  # "adam" (L2) as released, or "adamw" (decoupled)
    learning_rate: float = 1e-5
    head_factor: float = 5.0  # learning rate of heads and multi-modal parts, times the base
    weight_decay: float = 1e-8
    warmup_steps: int = 10_000
    total_steps: int = 300_000  # the learning rate reaches 0 here
    precision: str = "fp16"  # "no", "fp16" or "bf16"; a CPU run in fp16 is refused
    clip_gradient: float = 0.0  # largest gradient norm; 0 leaves it alone, as released
    activation_checkpointing: bool = False  # recompute in encoder and MIM: less memory, more time
    compile: bool = False  # encoder and MIM's decoder, by torch.compile: for a GPU
    text_cache_mb: int = 2_048  # frozen text features kept in memory, at most

    # the run
    seed: int = 0
    validate_every: int = 1_000  # steps
    save_every: int = 1_000  # steps
    workers: int = 4  # processes reading volumes; 0: all in memory-mapped files of this process

    def __post_init__(self) -> None:
        object.__setattr__(self, "volume_shape", tuple(self.volume_shape))
        stride = self.mask_block
        if any(size % stride for size in self.volume_shape):
            nearest = tuple(max(stride, round(s / stride) * stride) for s in self.volume_shape)
            raise ValueError(
                f"volume_shape {self.volume_shape} must be divisible by mask_block {stride}; "
                f"the nearest that fits is {nearest}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {PRECISIONS}, got '{self.precision}'")
        for name in ("voxel_mask_ratio", "word_mask_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")
        for name in ("batch_size", "accumulation", "total_steps", "max_tokens", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} must be divisible by accumulation "
                f"{self.accumulation}; choose an accumulation that divides it"
            )


PAPER = PretrainConfig()

_TINY = replace(  # any CPU: minutes
    PAPER,
    volume_shape=(48, 32, 48),
    spacing_mm=(7.5, 7.5, 7.5),
    crop=(1.0, 1.0, 1.0),
    encoder="unet3d",
    encoder_settings={"channels": (16, 32, 64, 96)},
    text_encoder="embedded",
    max_tokens=192,
    dim=128,
    mask_block=8,
    word_mask_ratio=0.75,  # with fewer, the other words tell more than minutes can teach of volumes
    mim_output_stride=2,
    mim_from_mean=True,
    sfr_learn_target=False,
    jitter_shift=1,
    jitter_contrast=0.05,
    jitter_brightness=0.02,
    jitter_noise=0.02,
    weights=LossWeights(clip=1.0),
    clip_text="words",
    optimiser="adamw",
    learning_rate=2e-3,
    head_factor=1.0,
    weight_decay=1e-2,
    warmup_steps=50,
    total_steps=600,
    precision="no",
    clip_gradient=1.0,
    text_cache_mb=1_024,
    validate_every=200,
    save_every=200,
    workers=0,
)

PRESETS: dict[str, PretrainConfig] = {
    "tiny": _TINY,
    "small": replace(  # one GPU; on two CPU cores a step takes about six seconds
        _TINY,
        volume_shape=(96, 64, 96),
        spacing_mm=(3.75, 3.75, 3.75),
        encoder_settings={"channels": (32, 64, 128, 256)},
        max_tokens=256,
        dim=256,
        mask_block=16,
        learning_rate=1e-3,
        warmup_steps=500,
        total_steps=10_000,
        validate_every=1_000,
        save_every=1_000,
        workers=4,
    ),
    "unet": replace(
        PAPER, encoder="unet3d", encoder_settings={"channels": (48, 96, 192, 384, 768)}
    ),
    "swin_b": PAPER,
    "swin_l": replace(PAPER, encoder_settings={"embed_dim": 96}),
    "paper": PAPER,
}


def find_preset(name: str) -> PretrainConfig:
    """The settings called `name`.

    Raises:
        ValueError: if there is no such preset; the message lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset is one of {', '.join(PRESETS)}; got '{name}'")
    return PRESETS[name]


def choose_objectives(weights: LossWeights, choice: str) -> LossWeights:
    """The ablation a reader asks for in words.

    Args:
        weights: of the preset.
        choice: "all" (the preset's), "only clip ssm" or "without mim".

    Raises:
        ValueError: if it is none of these, or names an objective that does not exist.
    """
    how, *names = choice.split()
    if how == "all" and not names:
        return weights
    if how not in ("only", "without") or not names:
        raise ValueError(
            f"objectives is 'all', 'only NAME ...' or 'without NAME ...', got '{choice}'; "
            f"names are {', '.join(LossWeights.names())}"
        )
    return weights.only(*names) if how == "only" else weights.without(*names)


def write_config(config: PretrainConfig, path: Path) -> None:
    """Write every setting as JSON, readable by `read_config`."""
    path.write_text(json.dumps(asdict(config), indent=2) + "\n")


def read_config(path: Path) -> PretrainConfig:
    """Read the settings a run wrote beside its results.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it names a setting that does not exist.
    """
    return parse_config(json.loads(path.read_text()), path)


def parse_config(values: Mapping[str, Any], source: str | Path) -> PretrainConfig:
    """Settings as JSON holds them, back as a `PretrainConfig`.

    Args:
        values: as `write_config` writes them.
        source: file they were read from, for the message.

    Raises:
        ValueError: if they name a setting that does not exist.
    """
    known = {item.name for item in fields(PretrainConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise ValueError(
            f"{source} holds settings this version does not know: {', '.join(unknown)}; "
            "remove them, or read the file with the version that wrote it"
        )
    tuples = {"volume_shape", "spacing_mm", "crop", "hu_window"}
    known_values: dict[str, Any] = {
        key: tuple(value) if key in tuples and value is not None else value
        for key, value in values.items()
    }
    known_values["weights"] = LossWeights(**values.get("weights", {}))
    known_values["quirks"] = Quirks(**values.get("quirks", {}))
    return PretrainConfig(**known_values)
