"""The history of a run: one row per step, written during training.

Columns: `step`, `seconds` since the start of the run, `learning_rate`, `total`, one column per
loss (on the training batch), and `val_<name>` on held-out patients (empty at most steps).
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


class History:
    """Rows of numbers, appended to `history.csv` at every step, so that a killed run keeps them.

    Args:
        path: of the CSV file, or None to keep the rows in memory only.
        columns: in order; a row may lack some of them. Further names in a row become columns at the
            end.
        keep_up_to: when a run is resumed, the last step whose row is kept.
    """

    def __init__(self, path: Path | None, columns: Sequence[str] = (), keep_up_to: int = 0):
        self.path = path
        self.columns = list(columns)
        self.rows: list[Mapping[str, float | int]] = []
        # Rows after the checkpoint are dropped: the resumed run writes these steps again.
        if path is not None and keep_up_to and path.exists():
            with path.open(newline="") as table:
                reader = csv.DictReader(table)
                self._widen(reader.fieldnames or ())
                for row in reader:
                    if int(row["step"]) <= keep_up_to:
                        self.rows.append(self._text({k: float(v) for k, v in row.items() if v}))
        self._write_all()

    def add(self, row: Mapping[str, float | int]) -> None:
        """Append one row, to memory and to the file."""
        self.rows.append(row)
        if self._widen(row):  # a new column changes the header: write the file again
            self._write_all()
        elif self.path is not None:
            with self.path.open("a", newline="") as table:
                csv.DictWriter(table, self.columns).writerow(self._text(row))

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Steps at which `name` was measured, and its values."""
        rows = [row for row in self.rows if name in row]
        return [int(row["step"]) for row in rows], [row[name] for row in rows]

    def _widen(self, names: Sequence[str] | Mapping[str, float | int]) -> bool:
        """Add columns for new names; True if there are any."""
        new = [name for name in names if name not in self.columns]
        self.columns += new
        return bool(new)

    def _write_all(self) -> None:
        if self.path is not None:
            with self.path.open("w", newline="") as table:
                writer = csv.DictWriter(table, self.columns)
                writer.writeheader()
                writer.writerows(self._text(row) for row in self.rows)

    @staticmethod
    def _text(row: Mapping[str, float | int]) -> dict[str, float | int]:
        return {k: int(v) if k == "step" else v for k, v in row.items()}
