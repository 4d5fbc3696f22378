"""Markdown tables from the JSON lines that the measurements print.

`python -m benchmarks.table benchmarks/results/*.jsonl` prints one table per benchmark, as in the
README, each with the machine that it was measured on.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]
Row = dict[str, object]


def step_rows(lines: list[Line]) -> Iterator[Row]:
    """One row per measurement of a training step; the parts in seconds."""
    for line in lines:
        how = [line["precision"]] if line["precision"] != "no" else []
        how += [name for name in ("compile", "checkpointing") if line[name]]
        how += [f"{line['at_a_time']} at a time"] if line.get("at_a_time") else []
        yield {
            "preset": line["preset"],
            "batch": line["batch"],
            "setting": ", ".join(how) or "default",
            "s / step": line["seconds"],
            "s / sample": line["seconds"] / line["batch"],
            "CPU s / step": line["cpu_seconds"],
            "peak GiB": line["peak_gib"],
            **line["seconds_by_part"],
        }


def form_rows(lines: list[Line], sizes: tuple[str, ...]) -> Iterator[Row]:
    """One row per size: seconds (minimum) and memory of every form."""
    rows: dict[tuple[int, ...], Row] = {}
    for line in lines:
        key = tuple(line[size] for size in sizes)
        row = rows.setdefault(key, dict(zip(sizes, key, strict=True)))
        if line["measure"] == "memory":
            row[f"{line['form']}, MiB"] = line["extra_mib"]
            continue
        for form, seconds in line["forms"].items():
            row[f"{form}, s"] = seconds["seconds"]
            if form != "closed" and "closed" in line["forms"]:
                row[f"{form} / closed"] = seconds["seconds"] / line["forms"]["closed"]["seconds"]
    yield from rows.values()


def encoder_rows(lines: list[Line]) -> Iterator[Row]:
    """One row per pass, size and setting: the medians of ours and MONAI's, and their ratio."""
    for ratio in (line for line in lines if "ratio" in line):
        ours, theirs = ratio["ratio"].split(" / ")
        row: Row = {"pass": ratio["pass"], "volume": ratio["shape"], "encoder": ours}
        for key in ("cpu_seconds", "wall_seconds", "peak_mb"):
            for label, name in (("ours", ours), (theirs, theirs)):
                values = [
                    line[key]
                    for line in lines
                    if line.get("encoder") == name
                    and line["pass"] == ratio["pass"]
                    and "x".join(map(str, line["shape"])) == ratio["shape"]
                ]
                row[f"{label}, {key}"] = statistics.median(values)
            row[f"ratio, {key}"] = ratio[key]
        yield row


def plain_rows(lines: list[Line]) -> Iterator[Row]:
    """One row per line, with everything in it that is one number or one word."""
    for line in lines:
        yield {
            key: value
            for key, value in line.items()
            if key != "benchmark" and not isinstance(value, dict | list)
        }


ROWS: dict[str, Callable[[list[Line]], Iterator[Row]]] = {
    "step": step_rows,
    "encoder": encoder_rows,
    "gated_attention": lambda lines: form_rows(lines, ("words", "places")),
    "ssm": lambda lines: form_rows(lines, ("patients", "sentences")),
}


def as_markdown(rows: list[Row]) -> str:
    """A table of these rows; a column stands where it first came up, a gap is a dash."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, ["---"] * len(columns)]
    lines += [[written(row.get(column)) for column in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def written(value: object) -> str:
    """A number with three significant digits, whole ones and words as they are."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)


def tables(lines: list[Line]) -> Iterator[str]:
    """One table per benchmark and machine, with the machine in words."""
    groups: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        machine = ", ".join(f"{key} {value}" for key, value in line.get("machine", {}).items())
        groups.setdefault((line["benchmark"], machine), []).append(line)
    for (benchmark, machine), group in groups.items():
        table = as_markdown(list(ROWS.get(benchmark, plain_rows)(group)))
        yield f"**{benchmark}**\n\n{table}\n" + (f"\n({machine})\n" if machine else "")


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", help="JSON lines")
    arguments = parser.parse_args()
    lines = [json.loads(line) for path in arguments.files for line in path.read_text().splitlines()]
    print("\n".join(tables(lines)))


if __name__ == "__main__":
    main()
