"""One preparation on many machines: division of the volumes into shards, and merging.

Shard i of n takes every n-th patient of the sorted list, so that machines need no communication and
no volume is made twice. Each shard writes a part table; the first one also writes the plan, which
lists all volumes. `merge` checks that parts, plan and files agree, and writes the same tables as a
single run.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mg3d.data.prepared import read_facts
from mg3d.preparation.finish import finish, hash_of_plan
from mg3d.preparation.prepare_volume import Outcome
from mg3d.preparation.records import Prepared
from mg3d.volumes.volume import remove_unfinished, replace_file

PARTS = "parts"
PLAN = "plan.json"
SHOWN = 3  # number of faults named in an error


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count`, from 1."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(
                f"a shard is i/n with 1 <= i <= n, got {self.number}/{self.count}; "
                "the first of eight is 1/8"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def patients(self, patient_ids: Iterable[str]) -> set[str]:
        """The patients of this shard."""
        return set(sorted(set(patient_ids))[self.number - 1 :: self.count])


def parse_shard(text: str) -> Shard:
    """The shard in a text such as "1/8".

    Raises:
        ValueError: if it is none.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if not match:
        raise ValueError(f"a shard is i/n, such as 1/8, got '{text}'")
    return Shard(int(match[1]), int(match[2]))


def write_part(
    output: Path, shard: Shard, plan: Mapping[str, Any], outcomes: Mapping[str, Outcome]
) -> None:
    """Write the outcomes of a shard, `parts/<i>of<n>.json`, and for the first shard the plan.

    Args:
        output: the prepared folder.
        shard: the part of the work.
        plan: see `finish.make_plan`.
        outcomes: outcome of each volume of the shard, by volume id.
    """
    if shard.number == 1:
        replace_file(output / PARTS / PLAN, json.dumps(plan, ensure_ascii=False).encode("utf-8"))
    part = {
        "shard": str(shard),
        "plan": hash_of_plan(plan),
        "made": {v: o.facts["voxels_sha256"] for v, o in outcomes.items() if not o.reason},
        "refused": {v: o.reason for v, o in outcomes.items() if o.reason},
    }
    content = json.dumps(part, ensure_ascii=False, indent=1)
    name = f"{shard.number}of{shard.count}.json"
    replace_file(output / PARTS / name, content.encode("utf-8"))


def merge(output: str | Path) -> Prepared:
    """Merge all shards into one prepared folder, with the same bytes as a single run.

    Raises:
        FileNotFoundError: if the folder holds no shard.
        ValueError: if a shard or volume is missing, occurs twice, or was made from another plan.
    """
    output = Path(output)
    plan, parts = _read_parts(output)
    planned = [row["volume_id"] for row in plan["rows"]]
    outcomes: dict[str, Outcome] = {}
    twice: list[str] = []
    for part in parts:
        for volume_id, reason in part["refused"].items():
            twice += [volume_id] if volume_id in outcomes else []
            outcomes[volume_id] = Outcome({}, reason)
        for volume_id, voxels_sha256 in part["made"].items():
            twice += [volume_id] if volume_id in outcomes else []
            outcomes[volume_id] = Outcome({"voxels_sha256": voxels_sha256})
    _refuse(output, "are in two parts; prepare these shards again", twice)
    _refuse(output, "are in no part; prepare the shards again", set(planned) - set(outcomes))
    _refuse(output, "are in a part, but not planned", set(outcomes) - set(planned))
    gone: list[str] = []
    for row in plan["rows"]:
        outcome = outcomes[row["volume_id"]]
        if outcome.reason:
            continue
        facts = read_facts(output / row["volume"])
        lost = row["masks"] and not (output / row["masks"]).is_file()
        if lost or facts.get("voxels_sha256") != outcome.facts["voxels_sha256"]:
            gone.append(row["volume_id"])
        outcomes[row["volume_id"]] = Outcome(facts, kept=True)
    _refuse(output, "have no such file as their part says; run their shards again", gone)
    remove_unfinished(output)
    return finish(output, plan, outcomes)


def _read_parts(output: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the plan and all parts."""
    folder = output / PARTS
    names = sorted(path.name for path in folder.glob("*of*.json"))
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no part; prepare with --shard 1/n, ..., n/n and this --output first"
        )
    counts = {name.removesuffix(".json").split("of")[1] for name in names}
    if len(counts) > 1:
        raise ValueError(
            f"{folder} holds parts of different numbers of shards ({', '.join(names)}); remove "
            "those that do not belong to this preparation"
        )
    count = int(counts.pop())
    missing = [f"{n}/{count}" for n in range(1, count + 1) if f"{n}of{count}.json" not in names]
    if missing:
        raise ValueError(
            f"{folder}: {len(missing)} of {count} shards are missing: {', '.join(missing)}; "
            f"prepare them (--shard {missing[0]}), then merge"
        )
    parts = [_read_json(folder / f"{n}of{count}.json") for n in range(1, count + 1)]
    plan = _read_json(folder / PLAN)
    wanted = hash_of_plan(plan)
    other = [part["shard"] for part in parts if part["plan"] != wanted]
    if other:
        raise ValueError(
            f"{folder}: shards {', '.join(other)} were made from another source, other settings or "
            f"another version than {PLAN} (written by shard 1/{count}) says; prepare them again"
        )
    return plan, parts


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); prepare its shard again") from error


def _refuse(output: Path, what: str, volume_ids: Iterable[str]) -> None:
    names = sorted(volume_ids)
    if names:
        first = ", ".join(names[:SHOWN])
        raise ValueError(f"{output}: {len(names)} volumes {what}; first {first}")
