"""How often which value occurs: one histogram a volume, from it the proof for a whole data set.

In HU, air is -1000 and water 0 by definition; lung, fat, soft tissue and bone lie where anatomy
says. A data set whose volumes do not have their peaks there is not in HU, whatever it claims.

Source: HU of air and water by definition; fat, soft tissue and bone: ranges that radiology
textbooks agree on, rounded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mg3d.volumes.intensity import Scaled, spread_sample

BINS = {"HU": (-1105.0, 1505.0, 261), "0 to 1": (0.0, 1.0, 100)}  # low, high, number
LANDMARKS_HU = {
    "air": (-1050.0, -950.0),
    "lung": (-950.0, -500.0),
    "fat": (-150.0, -50.0),
    "soft tissue": (0.0, 100.0),
    "bone": (200.0, 1500.0),
}
MOST_LOOKED_AT = 200_000  # voxels of a volume


@dataclass(frozen=True)
class Histograms:
    """Shares of voxels by value, one row a volume.

    Attributes:
        unit: "HU" or "0 to 1".
        edges: of the bins, one more than bins; the first and last bin also hold what lies beyond.
        shares: of the voxels looked at; a row sums to 1.
        names: ids of the volumes.
    """

    unit: str
    edges: Float[np.ndarray, " edges"]
    shares: Float[np.ndarray, "volumes bins"]
    names: tuple[str, ...]


def count_values(scaled: Scaled) -> dict[str, Any]:
    """The histogram of one volume as it stands in its facts.

    Taken from the voxels of the file, before they are mixed on the grid; evenly spread.
    """
    unit = scaled.facts["to"]
    stored = spread_sample(scaled.volume, MOST_LOOKED_AT)
    values = stored.astype(np.float32) * scaled.volume.slope + scaled.volume.intercept
    if unit != "HU":
        low, high = scaled.window
        values = (values - low) / (high - low)
    low, high, number = BINS[unit]
    place = np.floor((values - low) * (number / (high - low))).clip(0, number - 1)
    counts: Int[np.ndarray, " bins"] = np.bincount(place.astype(np.int64), minlength=number)
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    return {"first_bin": first, "counts": counts[first : last + 1].tolist()}


def stack_histograms(facts: Iterable[Mapping[str, Any]]) -> dict[str, Histograms]:
    """Histograms of many volumes by unit.

    Args:
        facts: of each volume, as `prepared.read_facts` gives them.
    """
    rows: dict[str, list[np.ndarray]] = {}
    names: dict[str, list[str]] = {}
    for one in facts:
        unit, found = one["rescale"]["to"], one["histogram"]
        row = np.zeros(BINS[unit][2])
        row[found["first_bin"] :][: len(found["counts"])] = found["counts"]
        rows.setdefault(unit, []).append(row / row.sum())
        names.setdefault(unit, []).append(one["volume_id"])
    return {
        unit: Histograms(
            unit,
            np.linspace(BINS[unit][0], BINS[unit][1], BINS[unit][2] + 1),
            np.stack(rows[unit]),
            tuple(names[unit]),
        )
        for unit in sorted(rows)
    }


def describe_landmarks(histograms: Histograms) -> dict[str, Any]:
    """Where the peak of each landmark lies and how much is near it, over the volumes.

    Per landmark: share of voxels in its range (median over volumes, least, most), and the HU of the
    fullest bin in the range (median, 5 and 95 percent over volumes that have at least 1 in 1,000
    voxels there; the middle of a bin of 10 HU).
    """
    middles = (histograms.edges[:-1] + histograms.edges[1:]) / 2
    described = {}
    for name, (low, high) in LANDMARKS_HU.items():
        inside = (middles > low) & (middles < high)
        share = histograms.shares[:, inside].sum(axis=1)
        seen = share >= 0.001
        peak = middles[inside][histograms.shares[seen][:, inside].argmax(axis=1)]
        described[name] = {
            "range_hu": [low, high],
            "share": _round(np.median(share), share.min(), share.max()),
            "volumes": int(seen.sum()),
            "peak_hu": _round(*np.percentile(peak, (50, 5, 95))) if seen.any() else None,
        }
    return described


def _round(*values: Any) -> list[float]:
    return [round(float(value), 4) for value in values]
