"""Results that take too long for a lesson, stored with the library and loaded from there.

Each file says in its columns how many seeds, steps and patients it was measured with. It is made
again by the command named in `SOURCES`.
"""

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "stored"
SOURCES = {
    "ablation_tiny": (
        "python -m mg3d.experiments.ablation --data PREPARED --steps 200 --seeds 0 1, once more "
        "with --shuffle-reports for the control"
    ),
    "longer_tiny": (
        'python -m mg3d.experiments.ablation --data PREPARED --only "the paper\'s six" "only clip" '
        '"six + clip" with --steps 200, 600 and 1800, with 2,048 and 6,144 patients prepared, and '
        "with --shuffle-reports"
    ),
}
PANELS = {
    "probe_macro_auroc": "linear probe, macro AUROC",
    "retrieval_recall_at_5": "alignment head, Recall@5 of 64",
}


def load_results(name: str) -> Any:
    """One stored table as a pandas DataFrame.

    Raises:
        ValueError: if there is no such table; the message lists those there are.
    """
    import pandas as pd

    if name not in SOURCES:
        raise ValueError(f"stored results are {', '.join(SOURCES)}; got '{name}'")
    return pd.read_csv(FOLDER / f"{name}.csv")


def load_ablation(name: str = "ablation_tiny") -> Any:
    """A stored ablation with one row per configuration and score, as `viz` draws it."""
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
