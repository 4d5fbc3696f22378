"""An importer's description of a data set, and the check that its records agree with it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mg3d.data.masks import MaskMeaning
from mg3d.preparation.records import Refusal, ScanRecord

__all__ = ["DatasetDescription", "check_records"]


@dataclass(frozen=True, kw_only=True)
class DatasetDescription:
    """Description of one data set, known before any voxel is read.

    Attributes:
        source: name of the data set, for dataset.json.
        root: folder of the raw data; files are named relative to it.
        refused: files that the importer refused.
        labels: names of the label columns, in order; () if the data set has none.
        label_classes: label -> names of its values 0, 1, 2, ...; others are 0 and 1, or numbers.
        masks: meaning of the numbers in the masks.
        released_split: name of a released split, if one is used. Only a released split may have a
            patient in two splits; dataset.json then records it.
        tables: file name -> rows, for tables beside the manifest. Rows of one table have the same
            keys; rows with the "volume_id" of a refused volume are dropped.
        facts: more entries for dataset.json, such as counts of the source.
    """

    source: str
    root: Path
    refused: Sequence[Refusal] = ()
    labels: Sequence[str] = ()
    label_classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    masks: MaskMeaning = field(default_factory=MaskMeaning)
    released_split: str = ""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


def check_records(records: Sequence[ScanRecord], dataset: DatasetDescription) -> None:
    """Check the records against the description of their data set.

    Raises:
        ValueError: if a volume id occurs twice, a patient is in two splits, a label is not declared
            or out of range, or there are masks without a declared meaning.
    """
    _check_ids(records, dataset.released_split)
    _check_labels(records, dataset.labels, dataset.label_classes)
    with_masks = [record.volume_id for record in records if record.masks]
    if with_masks and not dataset.masks.kind:
        raise ValueError(
            f"{len(with_masks)} volumes have masks, first {with_masks[0]}, but what they mean is "
            "not said; an importer describes them as `masks`"
        )


def _check_ids(records: Sequence[ScanRecord], released_split: str) -> None:
    seen = Counter(record.volume_id for record in records)
    twice = [name for name, count in seen.items() if count > 1]
    if twice:
        raise ValueError(
            f"{len(twice)} volume ids occur twice, first {twice[0]}; an importer must give each "
            "volume a unique id"
        )
    splits: dict[str, str] = {}
    for record in records:
        other = splits.setdefault(record.patient_id, record.split)
        if other != record.split and not released_split:
            raise ValueError(
                f"patient {record.patient_id} is in split '{other}' and in split "
                f"'{record.split}', so scores would be too good; put all scans of a patient into "
                "one split, or ask for a released split by name"
            )


def _check_labels(
    records: Sequence[ScanRecord], labels: Sequence[str], classes: Mapping[str, Sequence[str]]
) -> None:
    from mg3d.data.manifest import columns_of  # here: it imports torch, which workers do not need

    columns = Counter(columns_of(labels))
    taken = [name for name, count in columns.items() if count > 1]
    strange = sorted({name for record in records for name in record.labels} - set(labels))
    strange += [name for name in classes if name not in labels]
    if taken or strange:
        raise ValueError(
            f"label columns {', '.join(taken) or 'none'} are taken already and labels "
            f"{', '.join(strange) or 'none'} are not declared; an importer declares each label once"
        )
    for record in records:
        for name, names in classes.items():
            value = record.labels.get(name)
            if value is not None and value not in range(len(names)):
                raise ValueError(
                    f"{record.volume_id}: label {name} is {value}, expected 0 to "
                    f"{len(names) - 1} ({', '.join(names)}) or unknown"
                )
