"""The control of every claim about reports: the same training, every report another patient's."""

from pathlib import Path

REPORTS = ("own", "other patients'")
SHUFFLED = ", reports shuffled"  # how a row with the control is called


def shuffle_reports(data: Path, folder: Path, seed: int) -> None:
    """The prepared folder again, every training patient with another one's report.

    What an encoder still learns there comes from the volumes alone, or from being trained at all.
    Held-out patients keep their own reports. Volumes are linked, not copied.

    Args:
        data: prepared folder with at least two training patients.
        folder: an empty folder, which becomes the shuffled one.
        seed: of the shuffle.
    """
    import numpy as np
    import pandas as pd

    for item in data.resolve().iterdir():
        if item.name != "manifest.csv":
            (folder / item.name).symlink_to(item)
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    texts, train = ["findings", "impression"], table["split"] == "train"
    own = table[train].drop_duplicates("patient_id").set_index("patient_id")[texts]
    circle = np.random.default_rng(seed).permutation(len(own))  # nobody is his own neighbour
    given = own.iloc[np.roll(circle, 1)].set_axis(own.index[circle])
    table.loc[train, texts] = given.loc[table.loc[train, "patient_id"]].to_numpy()
    table.to_csv(folder / "manifest.csv", index=False)
