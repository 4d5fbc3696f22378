"""Presets: starting points for a run. A preset changes sizes and steps, never the code path."""

from mg3d.config.change import change
from mg3d.config.settings import LossWeights, PretrainConfig

PAPER = PretrainConfig()

_TINY = change(  # any CPU: minutes
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
    # With fewer hidden words, the others predict them so well that, within minutes of training,
    # MLM learns nothing from the volume.
    word_mask_ratio=0.75,
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
    max_grad_norm=1.0,
    text_cache_mb=1_024,
    validate_every=200,
    save_every=200,
    workers=0,
)

PRESETS: dict[str, PretrainConfig] = {
    "tiny": _TINY,
    "small": change(  # one GPU; on two CPU cores a step takes about six seconds
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
    "unet": change(PAPER, encoder="unet3d", encoder_settings={"channels": (48, 96, 192, 384, 768)}),
    "swin_b": PAPER,
    "swin_l": change(PAPER, encoder_settings={"embed_dim": 96}),
    "paper": PAPER,
}


def find_preset(name: str) -> PretrainConfig:
    """The preset called `name`.

    Raises:
        ValueError: if there is no such preset; the message lists the presets.
    """
    if name not in PRESETS:
        raise ValueError(f"preset is one of {', '.join(PRESETS)}; got '{name}'")
    return PRESETS[name]


def choose_objectives(weights: LossWeights, choice: str) -> LossWeights:
    """Weights after switching objectives off, as described by a short text.

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
