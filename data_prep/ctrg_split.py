"""Splits of CTRG-Chest's records: disjoint, or as released.

In the released split, val and test are the same 360 scans, so that model selection on val is
selection on test.
"""

from data_prep.ctrg_records import Record
from data_prep.splits import hold_out
from data_prep.tables import same_text
from mg3d.preparation.records import Refusal

__all__ = ["note_on_split", "split_as_released", "split_disjoint"]

HELD_OUT, SEED = 0.1, 0  # of the released training scans
LIST_SHARES = (0.8, 0.9)  # of the list layout: train up to the first, val up to the second
NOTE = "as released, val and test are the same {} scans: selecting on val is selecting on test"


def split_disjoint(
    records: list[Record], file: str, refused: list[Refusal]
) -> list[tuple[Record, str, str]]:
    """Each case once, with split and volume id; released test cases stay held out."""
    own = {record.case for record in records if record.split in ("val", "test")}
    free = {record.case for record in records} - own
    rows, taken = [], {}
    tested = {record.case for record in records if record.split == "test"}
    if tested and own - tested and records[0].place.startswith("["):  # each record names its own
        val, test = own - tested, tested
    elif own or any(record.split for record in records):
        val = hold_out(free, HELD_OUT, SEED, may_be_empty=True)
        test = own
    else:
        test = hold_out(free, HELD_OUT, SEED, may_be_empty=True)
        val = hold_out(free - test, HELD_OUT / (1 - HELD_OUT), SEED + 1, may_be_empty=True)
    for record in records:
        if record.split == "train" and record.case in own:
            reason = f"id {record.case} is held out too; taken there only, or training would see it"
            refused.append(Refusal(f"{file}:{record.place}", reason))
        elif record.case not in taken:
            taken[record.case] = record
            where = "test" if record.case in test else "val" if record.case in val else "train"
            rows.append((record, where, record.case))
        elif not _says_the_same(taken[record.case], record):
            reason = f"id {record.case} has another report in {taken[record.case].place}"
            refused.append(Refusal(f"{file}:{record.place}", reason))
        elif taken[record.case].split == record.split:
            reason = f"the same record as {taken[record.case].place}"
            refused.append(Refusal(f"{file}:{record.place}", reason, by_rule=True))
    return rows


def split_as_released(records: list[Record]) -> list[tuple[Record, str, str]]:
    """The released split; a scan that is in two splits gets two volume ids."""
    rows, taken = [], set()
    for number, record in enumerate(records):
        split = record.split
        if not split:
            share = number / len(records)
            split = (
                "train" if share < LIST_SHARES[0] else "val" if share < LIST_SHARES[1] else "test"
            )
        name = record.case if record.case not in taken else f"{record.case}_{split}"
        if name not in taken:
            taken.add(name)
            rows.append((record, split, name))
    return rows


def note_on_split(records: list[Record]) -> str:
    """A warning about the released split, "" if val and test differ."""
    val, test = ({r.case for r in records if r.split == split} for split in ("val", "test"))
    return NOTE.format(len(val)) if val and val == test else ""


def _says_the_same(one: Record, other: Record) -> bool:
    return same_text(one.findings, other.findings) and same_text(one.impression, other.impression)
