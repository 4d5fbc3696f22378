"""All settings of a run, in groups.

The defaults of `PretrainConfig` are the paper's settings as in its released code, with one
exception: where the code differs from the paper, the defaults of `Quirks` follow the paper.
`RELEASED_QUIRKS` follows the code; the published weights need it if their fusion is used. The name
of a setting is clear without its group (`batch_size`, `mask_block`), so that `change` and the
command line need no group; `weights` and `quirks` are the two exceptions.

Source: MG-3D (arXiv 2412.05876), implementation details; released code for the schedule.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from mg3d.config.checks import Checked, OneOf, Range, check_divides

# Keys of dicts in packages that import this one; a new entry in a dict is also added here.
ENCODERS = ["swin3d", "unet3d"]  # of mg3d.encoders.ENCODERS
ATTENTIONS = ["gated", "softmax"]  # of mg3d.attention.ATTENTIONS
OPTIMISERS = ["adam", "adamw"]  # of mg3d.training.optimiser.OPTIMISERS

Count = Annotated[int, Range(at_least=1)]
WholeAmount = Annotated[int, Range(at_least=0)]
Amount = Annotated[float, Range(at_least=0)]
Positive = Annotated[float, Range(above=0)]
Share = Annotated[float, Range(above=0, at_most=1)]
ProperShare = Annotated[float, Range(above=0, below=1)]
Seed = Annotated[int, Range(at_least=0, below=2**32)]


@dataclass(frozen=True, kw_only=True)
class GridSettings(Checked):
    """Grid and intensity range of the volumes that the model gets.

    Axes are (inferior-superior, posterior-anterior, left-right).
    """

    volume_shape: tuple[Count, Count, Count] = (128, 96, 128)  # voxels
    spacing_mm: tuple[Positive, Positive, Positive] | None = None  # None: crop, then stretch
    crop: tuple[Share, Share, Share] = (0.88, 0.65625, 0.875)  # central share kept of each axis
    hu_window: tuple[float, float] = (-1000.0, 1000.0)  # becomes 0 to 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.hu_window[0] < self.hu_window[1]:
            raise ValueError(f"hu_window is (lower, upper) in HU, got {self.hu_window}")


@dataclass(frozen=True, kw_only=True)
class NetworkSettings(Checked):
    """The two encoders and their cross-attention fusion."""

    encoder: Annotated[str, OneOf(ENCODERS)] = "swin3d"  # "swin3d" or "unet3d"
    encoder_settings: Mapping[str, Any] = field(default_factory=dict)  # encoder's keyword arguments
    text_encoder: str = "StanfordAIMI/RadBERT"  # "embedded", a folder, or a hub id
    max_tokens: Annotated[int, Range(at_least=3)] = 250  # of a report, with [CLS] and [SEP]
    report_cut: Literal["end", "keep_impression"] = "end"  # how a longer report is cut
    dim: Count = 768  # fusion width d
    fusion_layers: Count = 2  # cross-attention layers of each fusion
    attention: Annotated[str, OneOf(ATTENTIONS)] = "gated"  # "gated" (sigmoid) or "softmax"


@dataclass(frozen=True, kw_only=True)
class Quirks(Checked):
    """Deviations of the released code from the paper; the defaults follow the paper.

    The published weights were trained with all deviations (`RELEASED_QUIRKS`). Only with them does
    a model with these weights reproduce the outputs of the released fusion; the vision encoder is
    not affected. `docs/quirks.md` explains each deviation.
    """

    prefix = "quirks."

    mim_reads_words: bool = False  # Q2: MIM uses MLM's fusion with words, not that with sentences
    project_twice: bool = False  # Q3: fusion with sentences projects the visual tokens twice
    detach_sentences: bool = False  # Q5: no gradient through the text side of CML, DFA and SSM
    padded_to: WholeAmount = 0  # Q10: pad reports to this many tokens; gates count padding as words


RELEASED_QUIRKS = Quirks(
    mim_reads_words=True, project_twice=True, detach_sentences=True, padded_to=250
)


@dataclass(frozen=True, kw_only=True)
class MaskingSettings(Checked):
    """What is hidden from the model."""

    mask_block: Count = 16  # edge of a hidden block, voxels
    voxel_mask_ratio: ProperShare = 0.5  # share of the blocks that is hidden
    word_mask_ratio: ProperShare = 0.15  # share of the words that is hidden


@dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Checked):
    """Random augmentation of the training volumes; all 0: none."""

    jitter_shift: WholeAmount = 0  # largest shift along each axis, voxels, in either direction
    jitter_contrast: Amount = 0.0  # standard deviation of a factor around 1
    jitter_brightness: Amount = 0.0  # standard deviation of an offset, 1 = the HU window
    jitter_noise: Amount = 0.0  # standard deviation in every voxel, 1 = the HU window

    @property
    def active(self) -> bool:
        """Whether any augmentation is on."""
        return any(asdict(self).values())


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(Checked):
    """Details of the objectives that `LossWeights` weighs."""

    mim_output_stride: Count = 1  # 2: reconstruct at half the resolution
    mim_from_mean: bool = False  # True: predict the difference from the mean training volume
    temperature: Positive = 0.1  # of every contrastive objective
    sfr_learn_target: bool = True  # False: a fixed random target, which cannot collapse
    clip_text: Literal["vector", "words"] = "vector"  # text side of CLIP, see mg3d.objectives.clip


@dataclass(frozen=True, kw_only=True)
class LossWeights(Checked):
    """Weight of each objective in the total; the defaults are the paper's, 0 switches it off."""

    prefix = "weights."

    mim: Amount = 1.0  # masked image modelling
    mlm: Amount = 1.0  # masked language modelling
    sfr: Amount = 0.1  # sentence feature reconstruction
    cml: Amount = 0.1  # cross-modal global alignment
    dfa: Amount = 0.1  # disentangled feature aggregation
    ssm: Amount = 0.1  # sentence similarity matching
    clip: Amount = 0.0  # plain report-to-volume InfoNCE; not in the paper

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.active():
            raise ValueError("one of the loss weights must be above 0, got 0 for all of them")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of all objectives."""
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
class OptimisationSettings(Checked):
    """Batch, optimiser and schedule."""

    batch_size: Count = 16  # patients, over all processes, per optimiser step
    accumulation: Count = 1  # micro-batches the batch is split into on each process
    optimiser: Annotated[str, OneOf(OPTIMISERS)] = "adam"  # with L2, or "adamw" (decoupled)
    learning_rate: Amount = 1e-5  # at its highest, after the warm-up
    head_factor: Amount = 5.0  # learning rate of heads and multi-modal parts, times the base
    weight_decay: Amount = 1e-8  # of weight matrices; none of biases, norms and embeddings
    warmup_steps: WholeAmount = 10_000  # the learning rate rises from 0
    total_steps: Count = 300_000  # the learning rate reaches 0 here
    max_grad_norm: Amount = 0.0  # larger gradients are scaled down to this norm; 0: never

    def __post_init__(self) -> None:
        super().__post_init__()
        check_divides(self.batch_size, self.accumulation)


@dataclass(frozen=True, kw_only=True)
class ComputeSettings(Checked):
    """Settings that change time and memory; they change results by rounding only."""

    precision: Literal["no", "fp16", "bf16"] = "fp16"  # of products; fp16 needs a GPU
    activation_checkpointing: bool = False  # recompute in encoder and MIM: less memory, more time
    activation_batch: WholeAmount = 0  # patients at a time in encoder and MIM; 0: the whole batch
    window_recompute: bool = True  # Swin: window by window, for CPUs; False for hooks and LoRA
    compile: bool = False  # encoder and MIM's decoder, by torch.compile: for a GPU
    text_cache_mb: WholeAmount = 2_048  # frozen text features kept in memory, at most
    workers: WholeAmount = 4  # processes reading volumes; 0: this process, by memory-mapped files


@dataclass(frozen=True, kw_only=True)
class RunSettings(Checked):
    """Seed, and how often a run measures and saves."""

    seed: Seed = 0  # of weights, order, masks and augmentation
    validate_every: Count = 1_000  # steps
    save_every: Count = 1_000  # steps
    keep_best: bool = False  # keep the checkpoint of the smallest held-out total, too


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Checked):
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
        super().__post_init__()
        shape, block = self.grid.volume_shape, self.masking.mask_block
        if any(size % block for size in shape):
            nearest = tuple(max(block, round(size / block) * block) for size in shape)
            raise ValueError(
                f"volume_shape {shape} must be divisible by mask_block {block}; "
                f"the nearest that fits is {nearest}"
            )
