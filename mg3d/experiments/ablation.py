"""Which objectives teach the encoder? Every combination under the same trainer, on the phantom.

`python -m mg3d.experiments.ablation --data DIR` trains each configuration with several seeds and
prints one JSON line a run. `--shuffle-reports` is the control: the same training, every report
another patient's. Besides the objectives, the settings in which the small presets depart from the
released method are put back one at a time. The table in the notebook `03_pretrain` and in the
README is made from the lines; `python -m mg3d.experiments.ablation --table RUNS.jsonl` writes it
as CSV.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Container, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mg3d.config import PretrainConfig, change, find_preset

PAPER = ("mim", "mlm", "sfr", "cml", "dfa", "ssm")


DEPARTURES: dict[str, dict[str, Any]] = {  # of the small presets, each put back as in the paper
    "CLIP on the learnt report vector": {"clip_text": "vector"},
    "15 % of the words hidden": {"word_mask_ratio": 0.15},
    "MIM from nothing": {"mim_from_mean": False},
    "SFR's target learns along": {"sfr_learn_target": True},
    "volumes unchanged": {
        **{"jitter_shift": 0, "jitter_contrast": 0.0},
        **{"jitter_brightness": 0.0, "jitter_noise": 0.0},
    },
    "softmax attention": {"attention": "softmax"},  # the paper's own comparison, Fig. 4
}


def configurations(preset: PretrainConfig) -> dict[str, PretrainConfig]:
    """Every row of the table: name -> settings."""
    six = preset.weights.without("clip")
    weights = {
        "six + clip": preset.weights,
        "only clip": preset.weights.only("clip"),
        "the paper's six": six,
        **{f"six without {name}": six.without(name) for name in PAPER},
        **{f"only {name}": preset.weights.only(name) for name in PAPER},
    }
    return {
        **{name: change(preset, weights=chosen) for name, chosen in weights.items()},
        **{f"six + clip, {name}": change(preset, **put) for name, put in DEPARTURES.items()},
    }


SHUFFLED = ", reports shuffled"  # how the control is called


def group_of(name: str) -> str:
    """Under which head a row stands in the figure."""
    if name.endswith(SHUFFLED):
        return "control"
    if "," in name:
        return "a setting put back"
    if "without" in name:
        return "one left out"
    return "one alone" if name.startswith("only") and name != "only clip" else "together"


def shuffle_reports(data: Path, folder: Path, seed: int) -> None:
    """The prepared folder again, every training patient with another one's report.

    What an encoder still learns there comes from the volumes alone, or from being trained at all.
    Held-out patients keep their own reports. Volumes are linked, not copied.
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


def run_one(
    data: Path, name: str, config: PretrainConfig, *, shuffled: bool = False
) -> dict[str, object]:
    """Train and score one configuration with one seed, maybe on shuffled reports."""
    from mg3d.evaluation.other_volume import mlm_rise
    from mg3d.evaluation.summary import evaluate, named, summarise
    from mg3d.training.loop import load_patients, pretrain
    from mg3d.training.step import build_pretraining

    with tempfile.TemporaryDirectory() as output, tempfile.TemporaryDirectory() as other:
        seen = data
        if shuffled:
            seen, name = Path(other), name + SHUFFLED
            shuffle_reports(data, seen, config.run.seed)
        run = pretrain(config, seen, Path(output), progress=False, log=lambda _: None)
    text = run.pretraining.model.text_encoder
    train, val = load_patients(run.config, data, text.tokenizer)  # with their own reports
    untrained = build_pretraining(config, text)
    before = evaluate(untrained, train, val, seed=config.run.seed)
    after = evaluate(run.pretraining, train, val, seed=config.run.seed)
    scores = summarise(after, before, seed=config.run.seed)
    rise = mlm_rise(run.pretraining, val, run.config, "cpu", seed=config.run.seed)
    scores |= named("mlm_rise_with_another_patients_volume", rise)
    return {
        "configuration": name,
        "seed": config.run.seed,
        "steps": run.steps,
        "patients": len(train.patients),
        "seconds": round(run.seconds, 1),
        "val_losses": run.final,
        **{key: value for key, value in scores.items() if "per_finding" not in key},
    }


def jobs(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Command lines, one a run; the seeds outermost, so that a stopped table is whole for some."""
    rows = configurations(find_preset(arguments.preset))
    for seed in arguments.seeds:
        for name in rows:
            if not arguments.only or any(means(part, name, rows) for part in arguments.only):
                yield [
                    *(
                        sys.executable,
                        "-m",
                        "mg3d.experiments.ablation",
                        "--data",
                        str(arguments.data),
                    ),
                    *("--preset", arguments.preset, "--steps", str(arguments.steps)),
                    *("--seeds", str(seed), "--one", name),
                    *(("--shuffle-reports",) if arguments.shuffle_reports else ()),
                ]


def means(part: str, name: str, rows: Container[str]) -> bool:
    """Whether a part asks for a row: by its whole name, or, if none is called so, by a piece."""
    return part == name if part in rows else part in name


def write_table(lines: Path, table: Path) -> None:
    """Mean over seeds of every score, with the mean of the per-seed intervals over patients.

    One row a configuration, number of steps and number of patients.
    """
    import pandas as pd

    runs = pd.DataFrame([json.loads(line) for line in lines.read_text().splitlines()])
    rows = []
    for (name, _, _), group in runs.groupby(["configuration", "steps", "patients"], sort=False):
        row = {"configuration": name, "group": group_of(name), "seeds": len(group)}
        row |= {key: int(group[key].max()) for key in ("steps", "patients", "held_out_patients")}
        for score in ("probe_macro_auroc", "probe_gain", "retrieval_recall_at_5"):
            row[score] = round(group[score].mean(), 4)
            bounds = pd.DataFrame(group[f"{score}_interval"].tolist()).mean()
            row[f"{score}_low"], row[f"{score}_high"] = (round(b, 4) for b in bounds)
        rows.append(row)
    rows += [_untrained(group, rows[0]) for _, group in runs.groupby("patients", sort=False)]
    pd.DataFrame(rows).to_csv(table, index=False)


def _untrained(runs: Any, like: dict[str, Any]) -> dict[str, Any]:
    """The row of the encoder before any training, one measurement a seed."""
    import pandas as pd

    group = runs.drop_duplicates("seed")
    row: dict[str, Any] = like | {"configuration": "untrained", "group": "together", "steps": 0}
    row |= {key: int(group[key].max()) for key in ("patients", "held_out_patients")}
    row |= {"seeds": len(group), "probe_gain": 0.0, "probe_gain_low": 0.0, "probe_gain_high": 0.0}
    for score in ("probe_macro_auroc", "retrieval_recall_at_5"):
        row[score] = round(group[f"{score}_untrained"].mean(), 4)
        bounds = pd.DataFrame(group[f"{score}_untrained_interval"].tolist()).mean()
        row[f"{score}_low"], row[f"{score}_high"] = (round(b, 4) for b in bounds)
    return row


def main() -> None:
    """Read the command line; see the module's first lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="prepared folder")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--steps", type=int, default=0, help="0: the preset's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--only", nargs="+", help="configurations called so, or whose name holds it"
    )
    parser.add_argument(
        "--shuffle-reports", action="store_true", help="control: train on other patients' reports"
    )
    parser.add_argument("--parallel", type=int, default=1, help="runs at a time, one thread each")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help="make a CSV from a file of JSON lines")
    arguments = parser.parse_args()
    if arguments.table:
        write_table(arguments.table, arguments.table.with_suffix(".csv"))
        return
    if arguments.one:
        preset = find_preset(arguments.preset)
        config = change(
            configurations(preset)[arguments.one],
            seed=arguments.seeds[0],
            total_steps=arguments.steps or preset.optimisation.total_steps,
            save_every=10**9,
            validate_every=10**9,
        )
        shuffled = arguments.shuffle_reports
        line = run_one(arguments.data, arguments.one, config, shuffled=shuffled)
        print(json.dumps(line), flush=True)
        return
    environment = os.environ | {"OMP_NUM_THREADS": "1"} if arguments.parallel > 1 else None
    with ThreadPoolExecutor(arguments.parallel) as pool:
        for done in pool.map(
            lambda job: subprocess.run(job, env=environment, stdout=subprocess.PIPE, check=True),
            jobs(arguments),
        ):
            print(done.stdout.decode().strip().splitlines()[-1], flush=True)


if __name__ == "__main__":
    main()
