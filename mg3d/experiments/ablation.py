"""Which objectives teach the encoder? Every combination under the same trainer, on the phantom.

    python -m mg3d.experiments.ablation --data DIR --steps 200 --seeds 0 1 > runs.csv

trains each configuration and prints one row for each run and score. `--reports "other patients'"`
is the control: the same training, every report another patient's. Besides the objectives, the
settings in which the small presets depart from the released method are put back one at a time. The
table that the notebook `03_pretrain` draws is made from the rows by
`python -m mg3d.experiments.results`.
"""

import argparse
from collections.abc import Container
from typing import Any

from mg3d.config import PretrainConfig, change, find_preset
from mg3d.experiments.command import grid_parser, run_experiment
from mg3d.experiments.grid import Point
from mg3d.experiments.reports import REPORTS, SHUFFLED
from mg3d.experiments.scored import pretraining_point, score_pretraining

MODULE = "mg3d.experiments.ablation"
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


def group_of(name: str) -> str:
    """Under which head a row stands in the figure."""
    if name.endswith(SHUFFLED):
        return "control"
    if "," in name:
        return "a setting put back"
    if "without" in name:
        return "one left out"
    return "one alone" if name.startswith("only") and name != "only clip" else "together"


def means(part: str, name: str, rows: Container[str]) -> bool:
    """Whether a part asks for a row: by its whole name, or, if none is called so, by a piece."""
    return part == name if part in rows else part in name


def ablation_points(asked: argparse.Namespace) -> list[Point]:
    """The grid; seeds outermost, so that an interrupted table is whole for some."""
    rows = configurations(find_preset(asked.preset))
    chosen = {
        name: config
        for name, config in rows.items()
        if not asked.only or any(means(part, name, rows) for part in asked.only)
    }
    if not chosen:
        raise ValueError(f"no configuration is called {asked.only}; there are {', '.join(rows)}")
    points = []
    for seed in asked.seeds:
        for reports in asked.reports:
            for name, config in chosen.items():
                row = name if reports == "own" else name + SHUFFLED
                steps = asked.steps or config.optimisation.total_steps
                points.append(
                    pretraining_point(
                        change(config, seed=seed, total_steps=steps),
                        asked.data,
                        reports=reports,
                        configuration=row,
                        group=group_of(row),
                    )
                )
    return points


def main(arguments: list[str] | None = None) -> None:
    """Read the command line; see the module's first lines."""
    parser = grid_parser(MODULE, __doc__)
    parser.add_argument(
        "--only", nargs="+", help="configurations called so, or whose name holds it"
    )
    parser.add_argument(
        "--reports", nargs="+", choices=REPORTS, default=["own"], help="whose reports to train on"
    )
    run_experiment(parser, ablation_points, score_pretraining, arguments)


if __name__ == "__main__":
    main()
