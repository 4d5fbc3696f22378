"""CT-RATE's splits: the official one, or one that holds out some training patients as val."""

import re
from dataclasses import replace

from data_prep.splits import hold_out
from mg3d.preparation.records import ScanRecord

__all__ = ["hold_out_patients", "parse_split"]

HELD_OUT = re.compile(r"train-val:(0?\.[0-9]+)(?::([0-9]+))?")


def parse_split(text: str) -> tuple[float, int] | None:
    """Share of the training patients that are held out, and seed; None for the official split.

    Raises:
        ValueError: if the text is no split.
    """
    if text == "official":
        return None
    match = HELD_OUT.fullmatch(text)
    if not match:
        raise ValueError(
            "split is official or train-val:FRACTION[:SEED], such as train-val:0.05:0; "
            f"got '{text}'"
        )
    return float(match[1]), int(match[2] or 0)


def hold_out_patients(records: list[ScanRecord], fraction: float, seed: int) -> list[ScanRecord]:
    """Hold out some training patients as val; the official validation patients become test."""
    training = {record.patient_id for record in records if record.split == "train"}
    held_out = hold_out(training, fraction, seed)
    return [
        replace(record, split="val" if record.patient_id in held_out else record.split)
        if record.split == "train"
        else replace(record, split="test")
        for record in records
    ]
