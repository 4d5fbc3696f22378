"""Zero-shot classification by prompts, without training on labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from mg3d.data.split import PreparedSplit
from mg3d.evaluation.tasks.multilabel import MultiLabel
from mg3d.evaluation.tasks.settings import TaskConfig
from mg3d.evaluation.tasks.task import Cases, Prediction


class ZeroShot(MultiLabel):
    """Zero-shot classification: cosine of a volume with a finding's stated and denied prompts.

    Needs weights that were trained with the objective `clip`, whose head compares.
    """

    part: ClassVar[str] = "pretraining"
    needs_train: ClassVar[bool] = False
    tunings: ClassVar[tuple[str, ...]] = ("frozen",)

    def names_of(self, split: PreparedSplit) -> list[str]:
        """Labels that are asked for, or all that have prompts."""
        from mg3d.text.prompts import PROMPTS

        own: Any = self.config.own
        offered = [] if own.labels else self.shared or split.label_names
        return own.names() or [name for name in offered if name in PROMPTS]

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Every volume of a split with labels that have prompts."""
        from mg3d.text.prompts import PROMPTS

        cases = super().prepare(folder, split, training=training)
        unknown = [name for name in cases.label_names if name not in PROMPTS]
        if unknown:
            own: Any = self.config.own
            raise ValueError(
                f"{own.labels or cases.split.folder / 'manifest.csv'}: there are no prompts for "
                f"the columns {', '.join(unknown)}; name others in --columns, prompts are for "
                f"{', '.join(PROMPTS)}"
            )
        return cases

    def network(self, start: Any, train: Cases) -> nn.Module:
        """Model and heads, as they were pre-trained."""
        find_clip(start.pretraining, start.name)
        pretraining: nn.Module = start.pretraining
        return pretraining

    def predict(
        self, network: Any, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Cosine with the direction of every finding."""
        from mg3d.evaluation.zero_shot import finding_direction

        head = find_clip(network, "these weights")
        model = network.model
        names = cases.label_names
        directions = torch.stack([finding_direction(model, head, name) for name in names])
        for own, vectors in volume_vectors(network, head, cases, numbers, self.config):
            for number, scores in zip(own, (vectors @ directions.T).float().cpu(), strict=True):
                case, patient = cases.case_id[number], cases.patient_id[number]
                output = {"output": scores.tolist()}
                yield Prediction(case, patient, output, self.truth(cases, int(number)))


def find_clip(pretraining: Any, name: str) -> Any:
    """The CLIP head of a pre-training.

    Raises:
        ValueError: if it has none.
    """
    from mg3d.objectives.clip import CLIP

    head = pretraining.find(CLIP)
    if head is None:
        raise ValueError(
            f"{name} has no CLIP head, which compares volumes with texts; it has the objectives "
            f"{', '.join(pretraining.objectives)}; take weights that were trained with weights.clip"
            " above 0, or the task 'prompted', which trains such a comparison"
        )
    return head


@torch.no_grad()
def volume_vectors(
    network: Any, head: Any, cases: Cases, numbers: Int[np.ndarray, " N"], config: TaskConfig
) -> Iterator[tuple[Int[np.ndarray, " B"], Tensor]]:
    """Unit vectors of volumes in the space of the CLIP head, in batches, with case numbers."""
    device = next(network.parameters()).device
    size = config.compute.predict_batch
    for start in range(0, len(numbers), size):
        part = numbers[start : start + size]
        batch = cases.collate([cases.items[int(number)] for number in part]).to(device)
        yield part, head.volume_head(network.model.embed_volumes(batch.volume))
