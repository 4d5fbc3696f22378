"""One pre-training step: encode the batch and compute the loss of every objective.

`Pretraining` holds all trained parameters (the model and the heads of the objectives) in one
module, which is wrapped for distributed training and saved as a whole.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor, nn

from mg3d.config import PretrainConfig, parse_config
from mg3d.data.batch import Batch
from mg3d.distributed import gather_sizes
from mg3d.model import MG3D, build_model
from mg3d.objectives import OBJECTIVES, Objective
from mg3d.objectives.objective import TrainingPatients
from mg3d.text.encoder import TextEncoder
from mg3d.weights.hub import HubModel

Kind = TypeVar("Kind", bound=Objective)


class Pretraining(HubModel):
    """The model and its objectives; `forward` returns the loss of each objective by name.

    Args:
        model: encodes and fuses volumes and reports.
        objectives: name -> module that computes a loss from Features and Batch.

    Attributes:
        config: the settings that `build_pretraining` used; saved with the weights.
    """

    hub_part: ClassVar[str] = "pretraining"
    config: PretrainConfig | None = None

    def __init__(self, model: MG3D, objectives: Mapping[str, Objective]):
        super().__init__()
        self.model = model
        # A ModuleDict registers the heads, so that they are trained and saved; typed as a dict.
        self.objectives = cast(dict[str, Objective], nn.ModuleDict(objectives))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Losses by name; objectives that need more patients than the global batch are skipped."""
        patients = sum(gather_sizes(batch.volume))
        active = {n: item for n, item in self.objectives.items() if item.min_patients <= patients}
        features = self.model(batch, needed=reads(active.values()))
        return {name: objective(features, batch) for name, objective in active.items()}

    def _hub_settings(self) -> dict[str, Any]:
        if self.config is None:
            raise ValueError(
                "a pre-training is saved with the settings it was built from, and this one was "
                "built by hand; use build_pretraining(config)"
            )
        return {"settings": asdict(self.config)}

    @classmethod
    def _from_hub_settings(
        cls, settings: dict[str, Any], source: Path, **given: Any
    ) -> "Pretraining":
        return build_pretraining(parse_config(settings["settings"], source), **given)

    def start(self, train: TrainingPatients) -> None:
        """Let every objective take from the training patients what its head begins with."""
        for objective in self.objectives.values():
            objective.start(train)

    def find(self, kind: type[Kind]) -> Kind | None:
        """The objective of this class, for example to use its heads in evaluation; None without."""
        return next((item for item in self.objectives.values() if isinstance(item, kind)), None)


def reads(objectives: Iterable[Objective]) -> frozenset[str]:
    """Names of all features that the objectives use."""
    return frozenset[str]().union(*(objective.reads for objective in objectives))


def pretrain_step(pretraining: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """The step that `mg3d.training.fit` repeats: every objective's loss, by name.

    Args:
        pretraining: a `Pretraining`, possibly wrapped for distributed training.
        batch: masked by `hide`, on the module's device.
    """
    losses: dict[str, Tensor] = pretraining(batch)
    return losses


def hide(
    batch: Batch,
    config: PretrainConfig,
    text: TextEncoder,
    generator: torch.Generator,
    *,
    first: int = 0,
) -> Batch:
    """Mask voxels and words if an active objective needs it; each mask costs an encoder pass.

    Args:
        batch: whole volumes and reports.
        config: of the run.
        text: the frozen text encoder, which knows its special tokens.
        generator: on the CPU; in the same state on every process.
        first: index of the batch's first patient in the global batch.
    """
    hides = frozenset[str]().union(*(OBJECTIVES[name].hides for name in config.weights.active()))
    return batch.hide(
        generator,
        block=config.masking.mask_block,
        voxel_ratio=config.masking.voxel_mask_ratio,
        word_ratio=config.masking.word_mask_ratio,
        mask_token=text.mask_token,
        vocabulary_size=text.vocabulary_size,
        special_tokens=text.special_tokens,
        voxels="voxels" in hides,
        words="words" in hides,
        first=first,
    )


def build_pretraining(
    config: PretrainConfig,
    text_encoder: TextEncoder | None = None,
    *,
    kind: type[MG3D] = MG3D,
) -> Pretraining:
    """Build model and objectives, with initial weights that depend on `config.run.seed` only.

    Args:
        config: of the run. Objectives of weight 0 are not built.
        text_encoder: one already loaded, shared between runs.
        kind: the class of the model, as for `build_model`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.run.seed)
        model = build_model(config, text_encoder, kind=kind)
        objectives = {}
        for position, name in enumerate(OBJECTIVES):
            if name in config.weights.active():
                # A seed per objective: removing one does not change the initial weights of others.
                torch.manual_seed(1_000 * (config.run.seed + 1) + position)
                objectives[name] = OBJECTIVES[name].from_config(config, model)
    pretraining = Pretraining(model, objectives)
    pretraining.config = config
    if config.compute.compile:
        compile_parts(pretraining)
    return pretraining


def compile_parts(pretraining: Pretraining) -> None:
    """Compile the encoder and the slow parts of objectives (MIM's decoder), in place.

    The rest uses strings, caches and communication between processes, which cannot be compiled.
    Parameter names do not change.
    """
    pretraining.model.encoder.compile()
    for objective in pretraining.objectives.values():
        objective.compile_parts()
