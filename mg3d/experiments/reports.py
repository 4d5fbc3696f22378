"""Shuffled-report control: the same training, with each report replaced by another patient's."""

from pathlib import Path

REPORTS = ("own", "other patients'")
SHUFFLED = ", reports shuffled"  # suffix of a configuration's name in the control


def shuffle_reports(data: Path, folder: Path, seed: int) -> None:
    """Copy a prepared folder, giving each training patient the report of another one.

    What an encoder still learns from it does not come from matching reports. Held-out patients keep
    their reports. Volumes are linked, not copied.

    Args:
        data: prepared folder with at least two training patients.
        folder: an empty folder to write to.
        seed: of the shuffle.
    """
    import numpy as np
    import pandas as pd

    for item in data.resolve().iterdir():
        if item.name != "manifest.csv":
            (folder / item.name).symlink_to(item)
    table = pd.read_csv(data / "manifest.csv", dtype=str, keep_default_na=False)
    texts, train = ["findings", "impression"], table["split"] == "train"
    reports = table[train].drop_duplicates("patient_id").set_index("patient_id")[texts]
    # One cycle through all patients in random order, so that no patient keeps their report.
    cycle = np.random.default_rng(seed).permutation(len(reports))
    shuffled = reports.iloc[np.roll(cycle, 1)].set_axis(reports.index[cycle])
    table.loc[train, texts] = shuffled.loc[table.loc[train, "patient_id"]].to_numpy()
    table.to_csv(folder / "manifest.csv", index=False)
