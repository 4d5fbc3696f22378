"""Segmentation: lung and colon cancer (MSD), COVID-19-20, ACDC, and class maps of any other data.

Trained on crops, half of them around a marked voxel; predicted by a sliding window over the whole
volume; scored and saved on the grid of the original image.

Source: MG-3D (arXiv 2412.05876), segmentation; windows and tolerances of its released code.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.data import Dataset

from mg3d.config.checks import Checked
from mg3d.config.settings import Amount, Count
from mg3d.data.prepared import array_shape, original_grid, read_array, read_facts
from mg3d.data.volume_batch import VolumeBatch, VolumeItem, collate_volumes
from mg3d.data.volume_dataset import VolumeDataset
from mg3d.encoders import Encoder
from mg3d.evaluation.segmentation_metrics import score_labels
from mg3d.evaluation.tasks.segmentation_baselines import TrivialSegmentation
from mg3d.evaluation.tasks.segmentation_decoder import build_decoder
from mg3d.evaluation.tasks.segmentation_files import (
    labels_on_original,
    map_labels,
    raw_file,
    read_reference,
    write_labels,
)
from mg3d.evaluation.tasks.segmentation_scores import segmentation_measures
from mg3d.evaluation.tasks.settings import FinetuneSettings, TaskConfig
from mg3d.evaluation.tasks.start import Start
from mg3d.evaluation.tasks.task import Cases, Measure, Predicted, Prediction, Task
from mg3d.evaluation.tasks.tuning import TaskNetwork, freeze_or_adapt


@dataclass(frozen=True, kw_only=True)
class SegmentationSettings(Checked):
    """Crops, sliding window and scores of a segmentation."""

    window: tuple[Count, Count, Count] = (96, 96, 96)  # voxels (h, w, d) seen at a time
    foreground: Amount = 0.5  # share of training crops that lie around a marked voxel
    overlap: Amount = 0.5  # of windows in prediction, share of an edge
    windows: Count = 4  # predicted at a time
    tolerance_mm: Amount = 2.0  # of NSD
    empty_reference: Literal["leave out", "score"] = "leave out"  # cases without the structure
    raw: str = ""  # folder the data were prepared from: score on its masks, copy its geometry

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.foreground > 1 or self.overlap >= 1:
            raise ValueError(
                f"foreground is a share from 0 to 1 and overlap one below 1, got {self.foreground} "
                f"and {self.overlap}"
            )


@dataclass(frozen=True)
class Window:
    """What a network needs of a batch when it predicts."""

    volume: Tensor


class DealtMasks(Dataset[VolumeItem]):
    """Crops with the masks of the crop of a case that was dealt to them.

    Args:
        crops: of training.
        order: case whose masks each case gets; its own, except in the control.
    """

    def __init__(self, crops: VolumeDataset, order: Int[np.ndarray, " N"]):
        self.crops, self.order = crops, order

    def __len__(self) -> int:
        """Number of cases."""
        return len(self.crops)

    def __getitem__(self, index: int | tuple[int, int]) -> VolumeItem:
        """One crop with other masks."""
        row, draw = index if isinstance(index, tuple) else (index, 0)
        own, dealt = self.crops[row, draw], int(self.order[row])
        return own if dealt == row else replace(own, masks=self.crops[dealt, draw].masks)


class Segmentation(Task):
    """Segmentation of any prepared folder whose masks are class maps.

    Attributes:
        source: how dataset.json calls the data set; "": any.
    """

    primary: ClassVar[str] = "dice"
    source: ClassVar[str] = ""

    def __init__(self, config: TaskConfig, start: Start | None = None):
        super().__init__(config, start)
        if config.augmentation.jitter_shift:
            raise ValueError(
                f"jitter_shift {config.augmentation.jitter_shift} moves volumes and not their "
                "masks; leave it at 0: crops lie elsewhere in every epoch anyway"
            )
        self.trivial: TrivialSegmentation | None = None

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Settings of the released segmentation, at its effective learning rate on one device."""
        return cls._defaults(SegmentationSettings())

    @classmethod
    def _defaults(cls, own: SegmentationSettings) -> TaskConfig:
        finetune = FinetuneSettings(batch_size=2, encoder_factor=1.0, weight_decay=1e-5)
        return TaskConfig(finetune=finetune, own=own)

    @property
    def own(self) -> SegmentationSettings:
        """Settings of this task."""
        assert isinstance(self.config.own, SegmentationSettings)
        return self.config.own

    def prepare(self, folder: Path, split: str, *, training: bool = False) -> Cases:
        """Crops of every volume of a split that has masks."""
        crops = VolumeDataset(
            folder, split, crop=self.own.window, foreground=self.own.foreground,
            with_masks=True, seed=self.config.run.seed,
        )  # fmt: skip
        self._check(crops)
        items: Any = crops
        if training:
            check_classes(crops)
            items = DealtMasks(crops, self.dealt(np.arange(len(crops))))
        names = (list(crops.rows["volume_id"]), list(crops.rows["patient_id"]))
        return Cases(crops, items, *names, collate_volumes, draws=True)

    def _check(self, crops: VolumeDataset) -> None:
        """Refuse another data set, other masks, and masks of another shape than their volume."""
        source = str(crops.manifest.facts.get("source", "unknown"))
        table = crops.folder / "manifest.csv"
        if self.source not in source:
            raise ValueError(
                f"{table} was made from {source}, and {type(self).__name__} is for {self.source}; "
                "take the task of that data set, or the task 'segmentation'"
            )
        if crops.masks_mean.kind != "classes":
            raise ValueError(
                f"{table}: masks are '{crops.masks_mean.kind}', where several structures may share "
                "a voxel; a segmentation needs class maps (dataset.json, masks: classes)"
            )
        for row in range(len(crops)):
            mask = crops.folder / crops.rows["masks"][row]
            shapes = crops.shape_of(row), array_shape(mask, "masks")
            if shapes[0] != shapes[1]:
                raise ValueError(
                    f"{mask}: masks of {shapes[1]} voxels, but volume "
                    f"{crops.rows['volume_id'][row]} of patient {crops.rows['patient_id'][row]} "
                    f"has {shapes[0]}; prepare the data again"
                )

    def network(self, start: Start, train: Cases) -> nn.Module:
        """Encoder and decoder; skip blocks of a released SwinUNETR are taken over."""
        outputs = len(train.split.masks_mean.names) + 1
        decoder = build_decoder(start.encoder, outputs, self.own.window, start.skip_blocks)
        return TaskNetwork(freeze_or_adapt(start.encoder, self.config.tuning), decoder)

    def head(self, encoder: Encoder, train: Cases) -> nn.Module:
        """The decoder with fresh weights."""
        return build_decoder(encoder, len(train.split.masks_mean.names) + 1, self.own.window)

    def loss(self, output: Tensor, batch: VolumeBatch) -> dict[str, Tensor]:
        """Dice of the structures, pooled over the batch, and cross-entropy; MONAI's sum of both."""
        from monai.losses import DiceCELoss

        assert batch.masks is not None
        criterion = DiceCELoss(
            include_background=False, to_onehot_y=True, softmax=True, squared_pred=True,
            smooth_nr=0.0, smooth_dr=1e-6, batch=True,
        )  # fmt: skip
        return {"dice_ce": criterion(output, batch.masks[:, None])}

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """The trivial segmentations, fitted on the training cases."""
        split = train.split
        masks = (split.folder / split.rows["masks"][n] for n in numbers)
        cases = (
            (split.load_volume(int(n))[0], torch.from_numpy(read_array(path, "masks").astype(int)))
            for n, path in zip(numbers, masks, strict=True)
        )
        self.trivial = TrivialSegmentation.fit(cases, len(split.masks_mean.names))
        return {**asdict(self.trivial), "names": list(split.masks_mean.names)}

    def predict(
        self, network: nn.Module, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Label maps as NIfTI on the original grid, with the scores of every case."""
        for number in map(int, numbers):
            yield self._predict(network, cases, number, folder)

    def _predict(self, network: nn.Module, cases: Cases, number: int, folder: Path) -> Prediction:
        split, case, patient = cases.split, cases.case_id[number], cases.patient_id[number]
        facts = read_facts(split.folder / split.rows["volume"][number])
        _, stored = original_grid(facts)
        volume = split.load_volume(number)
        labels = labels_on_original(self.logits(network, volume), facts)
        path = folder / f"{case}.nii.gz"
        raw = self.own.raw
        write_labels(path, labels, stored, raw_file(raw, facts["source_file"]) if raw else None)
        reference = read_reference(split, number, raw)
        structures = {name: n + 1 for n, name in enumerate(split.masks_mean.names)}
        scores = score_labels(
            labels.astype(int), reference.labels.astype(int), reference.spacing_mm,
            structures=structures, tolerance_mm=self.own.tolerance_mm, case_id=case,
            patient_id=patient, empty_reference=self.own.empty_reference,
        )  # fmt: skip
        output = {
            "labels": path.name,
            "scores": {name: _json(vars(one)) for name, one in scores.items()},
            "trivial": self._trivial(volume, facts, reference.labels, structures),
        }
        return Prediction(case, patient, output, {"reference": reference.origin})

    def _trivial(
        self, volume: Tensor, facts: dict[str, Any], truth: np.ndarray, structures: dict[str, int]
    ) -> dict[str, dict[str, float | None]]:
        """Dice of every trivial segmentation by structure; None where undefined."""
        if self.trivial is None:
            return {}
        found = {}
        for name, on_grid in self.trivial.predict(volume[0]).items():
            guess = map_labels(on_grid, facts)
            found[name] = {
                structure: _dice(guess == number, truth == number, self.own.empty_reference)
                for structure, number in structures.items()
            }
        return found

    def logits(self, network: nn.Module, volume: Tensor) -> Tensor:
        """Logits (k, H, W, D) of a whole volume (1, H, W, D), on the CPU.

        Windows overlap and are averaged with equal weights; where the volume is smaller than a
        window it is padded with 0.
        """
        from monai.inferers import sliding_window_inference

        predictor: Callable[[Tensor], Tensor] = lambda part: network(Window(part)).float()  # noqa: E731
        with torch.no_grad():
            found: Any = sliding_window_inference(
                volume[None], self.own.window, self.own.windows, predictor,
                overlap=self.own.overlap, mode="constant", padding_mode="constant", cval=0.0,
                sw_device=next(network.parameters()).device, device=torch.device("cpu"),
            )  # fmt: skip
        logits: Tensor = found[0]
        return logits

    def metrics(self, predicted: Predicted) -> list[Measure]:
        """Dice, NSD and HD95, of all structures and of each, with empties named."""
        return segmentation_measures(predicted, predicted.known["names"])


class MsdLung(Segmentation):
    """MSD Task06: lung cancer."""

    source: ClassVar[str] = "MSD Lung"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Released window and tolerance."""
        return cls._defaults(SegmentationSettings(tolerance_mm=4.0))


class MsdColon(MsdLung):
    """MSD Task10: colon cancer."""

    source: ClassVar[str] = "MSD Colon"


class Covid1920(Segmentation):
    """COVID-19-20: lesions."""

    source: ClassVar[str] = "COVID-19-20"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Released window and tolerance."""
        return cls._defaults(SegmentationSettings(window=(32, 192, 192)))


class Acdc(Segmentation):
    """ACDC: right ventricle, myocardium and left ventricle in cardiac MR."""

    source: ClassVar[str] = "ACDC"

    @classmethod
    def defaults(cls) -> TaskConfig:
        """Released window and overlap."""
        return cls._defaults(SegmentationSettings(window=(32, 192, 192), overlap=0.75))


def check_classes(crops: VolumeDataset) -> None:
    """Refuse training masks in which a structure never occurs.

    Raises:
        ValueError: names the structure, the first file and its patient.
    """
    present: set[int] = set()
    paths = [crops.folder / name for name in crops.rows["masks"]]
    names = crops.masks_mean.names
    for path in paths:
        present |= {int(value) for value in np.unique(read_array(path, "masks"))}
    for number, name in enumerate(names, start=1):
        if number not in present:
            raise ValueError(
                f"'{name}' (class {number}) is in none of the {len(paths)} training masks, first "
                f"{paths[0]} of patient {crops.rows['patient_id'][0]}; give masks that have it, "
                "or prepare the data without this class"
            )


def _dice(guess: np.ndarray, truth: np.ndarray, empty_reference: str) -> float | None:
    both = int(guess.sum()) + int(truth.sum())
    if not truth.any():
        return (0.0 if both else 1.0) if empty_reference == "score" else None
    return 2 * int((guess & truth).sum()) / both


def _json(values: dict[str, Any]) -> dict[str, Any]:
    """Undefined numbers as None."""
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in values.items()
    }
