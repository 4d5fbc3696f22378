"""Results of runs that take too long for a lesson, stored as tables with the library.

The columns of a table give the number of seeds, steps and patients; `SOURCES` gives the command
that repeats the runs. An ablation's table is made from the rows they print by

    python -m mg3d.experiments.results runs.csv > table.csv

and a scaling grid's is what `--wide` prints, one row per run.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "stored"
SOURCES = {
    "ablation_tiny": (
        'python -m mg3d.experiments.ablation --data PREPARED --steps 200 --only "six + clip" '
        '"only clip" "the paper\'s six" --reports own "other patients\'"'
    ),
    "scaling_tiny": (
        "python -m mg3d.experiments.scaling --data PREPARED --sizes s m l --patients 32 128 512 "
        '2048 --seeds 0 --steps 200 --objectives "only clip" --wide'
    ),
}
PANELS = {
    "probe_macro_auroc": "linear probe, macro AUROC",
    "retrieval_recall_at_5": "alignment head, Recall@5 of 64",
}
SCORES = ("probe_macro_auroc", "probe_gain", "retrieval_recall_at_5")
SIZES = ("training_patients", "held_out_patients")


def load_results(name: str) -> Any:
    """One stored table as a pandas DataFrame.

    Raises:
        ValueError: if there is no such table; the message lists the tables.
    """
    import pandas as pd

    if name not in SOURCES:
        raise ValueError(f"stored results are {', '.join(SOURCES)}; got '{name}'")
    return pd.read_csv(FOLDER / f"{name}.csv")


def load_ablation(name: str = "ablation_tiny") -> Any:
    """A stored ablation for `viz.curves.show_ablation`: one row per configuration and score."""
    import pandas as pd

    table = load_results(name)
    rows = []
    for score, panel in PANELS.items():
        for _, line in table.iterrows():
            rows.append(
                {
                    "configuration": line["configuration"],
                    "group": line["group"],
                    "steps": line["steps"],
                    "patients": line["patients"],
                    "score": panel,
                    "value": line[score],
                    "low": line[f"{score}_low"],
                    "high": line[f"{score}_high"],
                }
            )
    return pd.DataFrame(rows)


def mean_over_seeds(runs: Any) -> Any:
    """Average over seeds: one row per configuration, number of steps and number of patients.

    Args:
        runs: tidy table of an experiment, one row per run and score.

    Returns a DataFrame with the mean of each score and the mean ends of its intervals over patients
    (`_low`, `_high`). Scores of the encoders before training are in rows called "untrained".
    """
    import pandas as pd

    row = ["configuration", "group", "seed", "steps", "run"]
    wide = runs.pivot(index=row, columns="score", values=["value", "low", "high"])
    wide = wide.loc[pd.MultiIndex.from_frame(runs[row].drop_duplicates())]  # in the runs' order
    rows = []
    sizes = [wide["value"][size] for size in SIZES]
    keys = [wide.index.get_level_values(k) for k in ("configuration", "group", "steps")]
    for (name, group, steps, *counts), part in wide.groupby([*keys, *sizes], sort=False):
        rows.append(_row(part, "", configuration=name, group=group, steps=steps, counts=counts))
    for counts, part in wide.groupby(sizes, sort=False):
        first = part.groupby(level="seed").head(1)  # the same untrained encoder in every run
        rows.append(
            _row(
                first,
                "_untrained",
                configuration="untrained",
                group="together",
                steps=0,
                counts=counts,
            )
        )
    return pd.DataFrame(rows)


def _row(
    part: Any, suffix: str, *, configuration: str, group: str, steps: int, counts: Any
) -> dict[str, Any]:
    row = {"configuration": configuration, "group": group, "seeds": len(part), "steps": int(steps)}
    row |= dict(zip(("patients", "held_out_patients"), map(int, counts), strict=True))
    for score in SCORES:
        for moment, end in (("value", ""), ("low", "_low"), ("high", "_high")):
            if suffix and score == "probe_gain":
                row[score + end] = 0.0
            else:
                row[score + end] = round(float(part[moment][score + suffix].mean()), 4)
    return row


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    import pandas as pd

    parser = argparse.ArgumentParser(
        prog="python -m mg3d.experiments.results", description="Mean over seeds, as CSV."
    )
    parser.add_argument("runs", type=Path, nargs="+", help="CSV files printed by experiments")
    asked = parser.parse_args(arguments)
    runs = pd.concat([pd.read_csv(path) for path in asked.runs], ignore_index=True)
    mean_over_seeds(runs).to_csv(sys.stdout, index=False)


if __name__ == "__main__":
    main()
