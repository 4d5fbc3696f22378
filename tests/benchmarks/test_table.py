import json

from benchmarks.table import tables

MACHINE = {"cpu": "a good one", "threads": 2}


def test_forms_are_compared_in_one_row_a_size():
    size = {"benchmark": "ssm", "patients": 4, "sentences": 20, "machine": MACHINE}
    lines = [
        {
            **size,
            "measure": "seconds",
            "forms": {"closed": {"seconds": 0.5}, "looped": {"seconds": 2.0}},
        },
        {**size, "measure": "memory", "form": "closed", "extra_mib": 1234.5},
        {**size, "measure": "memory", "form": "looped", "extra_mib": None},
        {**size, "patients": 512, "measure": "seconds", "forms": {"looped": {"seconds": 3.0}}},
    ]
    (table,) = tables(lines)
    assert table.splitlines() == [
        "**ssm**",
        "",
        "| patients | sentences | closed, s | looped, s | looped / closed | closed, MiB "
        "| looped, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 4 | 20 | 0.5 | 2 | 4 | 1234 | - |",
        "| 512 | 20 | - | 3 | - | - | - |",
        "",
        "(cpu a good one, threads 2)",
    ]


def test_a_step_names_its_settings_and_its_parts():
    line = {
        **{"benchmark": "step", "preset": "paper", "batch": 2, "precision": "bf16"},
        **{"compile": False, "checkpointing": True, "seconds": 3.0, "cpu_seconds": 5.5},
        **{"peak_gib": 4.25, "seconds_by_part": {"backward": 2.0, "rest": 1.0}},
    }
    (table,) = tables([line])
    assert "| paper | 2 | bf16, checkpointing | 3 | 1.5 | 5.5 | 4.25 | 2 | 1 |" in table
    assert "| backward | rest |" in table
    (table,) = tables([{**line, "at_a_time": 8}])
    assert "| bf16, checkpointing, 8 at a time |" in table


def test_any_other_benchmark_shows_what_is_one_value():
    lines = [
        {"benchmark": "loading", "name": "ours", "seconds": 1.0, "parts": {}, "machine": MACHINE},
        {"benchmark": "loading", "name": "MONAI", "gib": 2.0, "machine": MACHINE},
        {"benchmark": "loading", "name": "ours", "seconds": 0.5, "machine": {"cpu": "another"}},
    ]
    first, second = tables(lines)
    assert "| name | seconds | gib |" in first
    assert "| MONAI | - | 2 |" in first
    assert "| ours | 0.5 |" in second


def test_the_stored_results_make_tables(repository):
    files = sorted((repository / "benchmarks" / "results").glob("*.jsonl"))
    assert files
    lines = [json.loads(line) for path in files for line in path.read_text().splitlines()]
    text = "\n".join(tables(lines))
    assert all(f"**{line['benchmark']}**" in text for line in lines)
