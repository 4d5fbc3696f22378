"""What of an encoder is trained: everything, nothing, or low-rank adapters (LoRA).

Source: Hu et al. 2022 (LoRA, arXiv 2106.09685), by the library `peft`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mg3d.encoders import Encoder
from mg3d.evaluation.tasks.settings import FinetuneSettings, TuningSettings
from mg3d.training.checkpoint import Progress
from mg3d.training.optimiser import OPTIMISERS

ADAPTED = {"Swin3DEncoder": r".*\.attn\.(qkv|proj)", "UNet3DEncoder": r".*\.(halve|refine\.\d+)\.0"}


class TaskNetwork(nn.Module):
    """An encoder with a task's head on its maps; a batch in, the output out.

    Args:
        encoder: from `freeze_or_adapt`.
        head: (maps, batch) -> output.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module):
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, batch: Any) -> Any:
        """The head's output; a frozen encoder keeps no activations."""
        return self.head(self.maps(batch.volume), batch)

    def maps(self, volume: Tensor) -> tuple[Tensor, ...]:
        """The encoder's maps, fine to coarse."""
        return encode(self.encoder, volume)


def encode(encoder: nn.Module, volume: Tensor) -> tuple[Tensor, ...]:
    """The maps of an encoder, fine to coarse; one without trainable weights keeps no activations.

    Args:
        encoder: from `freeze_or_adapt`.
        volume: (B, 1, H, W, D), 0 to 1.
    """
    learns = any(parameter.requires_grad for parameter in encoder.parameters())
    with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
        maps: tuple[Tensor, ...] = encoder(volume)
    return maps


def freeze_or_adapt(encoder: Encoder, tuning: TuningSettings) -> nn.Module:
    """The encoder with the parameters trainable that the settings ask for.

    Args:
        encoder: changed in place.
        tuning: "full", "frozen" or "lora".

    Raises:
        ValueError: if there is no rule where this encoder's adapters go.
        ModuleNotFoundError: for "lora" without peft.
    """
    encoder.requires_grad_(tuning.tuning == "full")
    if tuning.tuning != "lora":
        return encoder
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "tuning 'lora' needs the library peft, which is not installed: pip install "
            "peft, or take tuning 'full' or 'frozen'"
        ) from error
    kind = type(encoder).__name__
    if kind not in ADAPTED:
        raise ValueError(
            f"tuning 'lora' has adapters for {', '.join(ADAPTED)}, got {kind}; add its layers to "
            "mg3d.evaluation.tasks.tuning.ADAPTED, or take tuning 'full' or 'frozen'"
        )
    encoder.window_recompute = False  # it would skip the adapters
    settings = LoraConfig(
        r=tuning.lora_rank, lora_alpha=tuning.lora_alpha, target_modules=ADAPTED[kind]
    )
    return inject_adapter_in_model(settings, encoder)


def trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Names and values of the parameters that are trained."""
    return ((name, p) for name, p in network.named_parameters() if p.requires_grad)


def build_task_optimiser(
    network: nn.Module, finetune: FinetuneSettings, encoder_name: str
) -> torch.optim.Optimizer:
    """Parameter groups: encoder or head, with or without weight decay.

    Args:
        network: of a task.
        finetune: of the run.
        encoder_name: what the names of the encoder's parameters begin with.

    Raises:
        ValueError: if nothing is trainable.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in trained(network):
        key = (name.startswith(encoder_name), parameter.ndim > 1)
        groups.setdefault(key, []).append(parameter)
    if not groups:
        raise ValueError(
            "nothing is trainable: encoder frozen and no head; take tuning 'full' or 'lora', or "
            "total_steps 0 to evaluate the weights as they are"
        )
    return OPTIMISERS[finetune.optimiser](
        [
            {
                "params": parameters,
                "factor": finetune.encoder_factor if in_encoder else 1.0,
                "weight_decay": finetune.weight_decay if decayed else 0.0,
            }
            for (in_encoder, decayed), parameters in groups.items()
        ],
        lr=finetune.learning_rate,
    )


def finetune_rate(finetune: FinetuneSettings, progress: Progress) -> float:
    """Learning rate of the next step: linear warm-up from above 0, then the decay.

    The last step has a rate above 0, and the first one is not lost to a rate of 0.
    """
    from math import cos, pi

    step, warmup = progress.step, finetune.warmup_steps
    if step < warmup:
        return finetune.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, finetune.total_steps - warmup)
    factors = {"cosine": (1 + cos(pi * done)) / 2, "linear": 1 - done, "constant": 1.0}
    return finetune.learning_rate * factors[finetune.decay]
