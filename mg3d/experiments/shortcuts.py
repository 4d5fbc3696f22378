"""How much of a finding do the mere amounts of bright, grey and dark voxels give away?

    python -m mg3d.experiments.shortcuts --data DIR

fits a linear model for each finding on two descriptions of a volume that do not know where anything
is: a histogram of its HU, and their mean. It prints one tidy CSV, one row per description and
finding, with the AUROC on held-out patients and its 95 % interval. A finding that scores high can
be guessed without being seen: train on it with care, or make the healthy patients more various.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from mg3d.data.split import PreparedSplit
from mg3d.evaluation.metrics import Score, auroc, bootstrap
from mg3d.evaluation.probe import linear_probe

BINS = 32


def histogram(volume: Float[np.ndarray, "H W D"], bins: int = BINS) -> Float[np.ndarray, " bins"]:
    """The share of voxels in each of `bins` equal parts of the HU window; the volume is 0 to 1."""
    counts, _ = np.histogram(volume, bins=bins, range=(0.0, 1.0))
    return counts / volume.size


def describe(folder: Path, split: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Histogram (P 32) and mean HU (P 1) of each patient's first volume, and labels (P C).

    Args:
        folder: prepared, with labels.
        split: "train", "val" or "test".

    Raises:
        ValueError: if the split is empty or the folder has no labels.
    """
    patients = PreparedSplit(folder, split)
    if not patients.label_names:
        raise ValueError(f"{folder} has no labels; prepare a data set that has findings as labels")
    first = [int(rows[0]) for rows in patients.volumes_of]
    volumes = [patients.load_volume(row)[0].numpy() for row in first]
    features = {
        "histogram": np.stack([histogram(volume) for volume in volumes]),
        "mean HU": np.array([[volume.mean(dtype=np.float64)] for volume in volumes]),
    }
    labels = patients.rows.loc[first, list(patients.label_names)].to_numpy(np.float64)
    return features, labels


def shortcut_scores(
    train: tuple[Mapping[str, np.ndarray], np.ndarray],
    test: tuple[Mapping[str, np.ndarray], np.ndarray],
    names: tuple[str, ...],
    *,
    draws: int = 1_000,
) -> dict[tuple[str, str], Score]:
    """AUROC by description and finding.

    Args:
        train: what `describe` returns for the patients to learn from.
        test: likewise for held-out patients.
        names: of the findings, columns of the labels.
        draws: of the bootstrap over held-out patients.
    """
    scores = {}
    for what, features in train[0].items():
        probe = linear_probe(features, train[1], test[0][what], test[1], names=names)
        for column, name in enumerate(names):
            truth, guess = probe.labels[:, column], probe.scores[:, column]
            scores[what, name] = bootstrap(
                lambda chosen, y=truth, s=guess: auroc(y[chosen], s[chosen]),  # type: ignore[misc]
                len(truth),
                draws=draws,
            )
    return scores


def table(folder: Path, train: str = "train", test: str = "val") -> Any:
    """A pandas table: description, finding, auroc, low, high, positives, test and train patients.

    Args:
        folder: prepared, with labels.
        train: split to learn from.
        test: split to score.
    """
    import pandas as pd

    names = PreparedSplit(folder, test).label_names
    learnt, held_out = describe(folder, train), describe(folder, test)
    positives = dict(zip(names, (held_out[1] == 1).sum(axis=0).tolist(), strict=True))
    return pd.DataFrame(
        {
            "description": what,
            "finding": name,
            "auroc": round(score.value, 3),
            "low": round(score.low, 3),
            "high": round(score.high, 3),
            "positives": positives[name],
            "patients": score.n,
            "train_patients": len(learnt[1]),
        }
        for (what, name), score in shortcut_scores(learnt, held_out, names).items()
    )


def main(arguments: list[str] | None = None) -> int:
    """The command line; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m mg3d.experiments.shortcuts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="prepared folder with labels")
    parser.add_argument("--train", default="train", help="split to learn from")
    parser.add_argument("--test", default="val", help="split to score")
    asked = parser.parse_args(arguments)
    try:
        rows = table(asked.data, asked.train, asked.test)
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    print(rows.to_csv(index=False), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
