"""Every number a run depends on, in groups.

The defaults of `PretrainConfig` are the paper's settings, as its released code runs them, with one
exception: where the code does something else than the paper says, the defaults of `Quirks` follow
the paper, and `RELEASED_QUIRKS` follows the code, which is what published weights need where their
fusion is used. A setting's name says what it is without its group (`batch_size`, `mask_block`), so
that `change` and the command line need no group; `weights` and `quirks` are the two exceptions.

Source: MG-3D (arXiv 2412.05876), implementation details; released code for the schedule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

PRECISIONS = ("no", "fp16", "bf16")


@dataclass(frozen=True, kw_only=True)
class GridSettings:
    """How a volume is shown to the model.

    Axes are (inferior-superior, posterior-anterior, left-right).
    """

    volume_shape: tuple[int, int, int] = (128, 96, 128)  # voxels
    spacing_mm: tuple[float, float, float] | None = None  # None: crop, then stretch to the shape
    crop: tuple[float, float, float] = (0.88, 0.65625, 0.875)  # central share kept of each axis
    hu_window: tuple[float, float] = (-1000.0, 1000.0)  # becomes 0 to 1

    def __post_init__(self) -> None:
        for name in ("volume_shape", "spacing_mm", "crop", "hu_window"):
            object.__setattr__(self, name, _as_tuples(getattr(self, name)))


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The two encoders and how they meet."""

    encoder: str = "swin3d"  # a key of mg3d.encoders.ENCODERS
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)  # its keyword arguments
    text_encoder: str = "StanfordAIMI/RadBERT"  # "embedded", a folder, or a hub id
    max_tokens: int = 250  # of a report, with [CLS] and [SEP]
    dim: int = 768  # fusion width d
    fusion_layers: int = 2  # cross-attention layers of each fusion
    attention: str = "gated"  # a key of mg3d.attention.ATTENTIONS

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "encoder_settings", {k: _as_tuples(v) for k, v in self.encoder_settings.items()}
        )
        _at_least_one(self, "max_tokens")


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
class MaskingSettings:
    """What is hidden from the model."""

    mask_block: int = 16  # edge of a hidden block, voxels
    voxel_mask_ratio: float = 0.5  # share of the blocks that is hidden
    word_mask_ratio: float = 0.15  # share of the words that is hidden

    def __post_init__(self) -> None:
        for name in ("voxel_mask_ratio", "word_mask_ratio"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is a share between 0 and 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings:
    """How much a training volume is changed each time it is shown; all 0: not at all."""

    jitter_shift: int = 0  # voxels along each axis, at most, either way
    jitter_contrast: float = 0.0  # standard deviation of a factor around 1
    jitter_brightness: float = 0.0  # standard deviation of an offset, 1 = the HU window
    jitter_noise: float = 0.0  # standard deviation in every voxel, 1 = the HU window

    def __post_init__(self) -> None:
        if min(asdict(self).values()) < 0:
            raise ValueError(f"a jitter is 0 or larger, got {self}; 0 leaves the volume as it is")

    @property
    def active(self) -> bool:
        """Whether it changes anything."""
        return any(asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings:
    """How the objectives compute what `LossWeights` weighs."""

    mim_output_stride: int = 1  # 2: reconstruct at half the resolution
    mim_from_mean: bool = False  # True: guess the difference from the mean training volume
    temperature: float = 0.1  # of every contrastive objective
    sfr_learn_target: bool = True  # False: a fixed random target, which cannot collapse
    clip_text: str = "vector"  # what CLIP compares volumes with: "vector" or "words", see clip.py


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
class OptimisationSettings:
    """Batch, optimiser and schedule."""

    batch_size: int = 16  # patients, over all processes, per optimiser step
    accumulation: int = 1  # micro-batches the batch is split into on each process
    optimiser: str = "adam"  # "adam" (L2) as released, or "adamw" (decoupled)
    learning_rate: float = 1e-5  # at its highest, after the warm-up
    head_factor: float = 5.0  # learning rate of heads and multi-modal parts, times the base
    weight_decay: float = 1e-8  # of weight matrices; none of biases, norms and embeddings
    warmup_steps: int = 10_000  # the learning rate rises from 0
    total_steps: int = 300_000  # the learning rate reaches 0 here
    max_grad_norm: float = 0.0  # larger gradients are scaled down to this norm; 0: never

    def __post_init__(self) -> None:
        _at_least_one(self, "batch_size", "accumulation", "total_steps")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size {self.batch_size} must be divisible by accumulation "
                f"{self.accumulation}; choose an accumulation that divides it"
            )


@dataclass(frozen=True, kw_only=True)
class ComputeSettings:
    """What changes time and memory, and numbers by rounding only."""

    precision: str = "fp16"  # "no", "fp16" or "bf16"; a CPU run in fp16 is refused
    activation_checkpointing: bool = False  # recompute in encoder and MIM: less memory, more time
    compile: bool = False  # encoder and MIM's decoder, by torch.compile: for a GPU
    text_cache_mb: int = 2_048  # frozen text features kept in memory, at most
    workers: int = 4  # processes reading volumes; 0: all in memory-mapped files of this process

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is one of {PRECISIONS}, got '{self.precision}'")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Seed, and how often a run looks up from its work."""

    seed: int = 0  # of weights, order, masks and augmentation
    validate_every: int = 1_000  # steps
    save_every: int = 1_000  # steps

    def __post_init__(self) -> None:
        _at_least_one(self, "validate_every")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """One pre-training run. The defaults are the paper's."""

    grid: GridSettings = field(default_factory=GridSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    quirks: Quirks = field(default_factory=Quirks)
    masking: MaskingSettings = field(default_factory=MaskingSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    objectives: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    weights: LossWeights = field(default_factory=LossWeights)
    optimisation: OptimisationSettings = field(default_factory=OptimisationSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)
    run: RunSettings = field(default_factory=RunSettings)

    def __post_init__(self) -> None:
        shape, block = self.grid.volume_shape, self.masking.mask_block
        if any(size % block for size in shape):
            nearest = tuple(max(block, round(size / block) * block) for size in shape)
            raise ValueError(
                f"volume_shape {shape} must be divisible by mask_block {block}; "
                f"the nearest that fits is {nearest}"
            )


def _at_least_one(group: object, *names: str) -> None:
    for name in names:
        if getattr(group, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(group, name)}")


def _as_tuples(value: Any) -> Any:
    """JSON has lists only; equal settings are equal wherever they come from."""
    return tuple(map(_as_tuples, value)) if isinstance(value, list | tuple) else value
