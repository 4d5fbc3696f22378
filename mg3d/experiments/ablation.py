"""Ablation: train with different sets of objectives and compare the encoders.

    python -m mg3d.experiments.ablation --data DIR --steps 200 --seeds 0 1 > runs.csv

trains each configuration and prints one row per run and score. `--reports "other patients'"` is the
control: the same training, with each report replaced by another patient's. Besides objectives, it
varies the settings in which the small presets differ from the paper: each is set to the paper's
value, one at a time. `python -m mg3d.experiments.results` makes the table that the notebook
`03_pretrain` draws from these rows.
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
# Settings of the paper that the small presets change; each row sets one of them as in the paper.
DEPARTURES: dict[str, dict[str, Any]] = {
    "CLIP on the learnt report vector": {"clip_text": "vector"},
    "15 % of the words hidden": {"word_mask_ratio": 0.15},
    "MIM of voxel values": {"mim_from_mean": False},  # not their difference from the mean
    "SFR's target learned": {"sfr_learn_target": True},
    "no augmentation": {
        **{"jitter_shift": 0, "jitter_contrast": 0.0},
        **{"jitter_brightness": 0.0, "jitter_noise": 0.0},
    },
    "softmax attention": {"attention": "softmax"},  # the paper's own comparison, Fig. 4
}


def configurations(preset: PretrainConfig) -> dict[str, PretrainConfig]:
    """All configurations of the ablation: name -> settings."""
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
    """Heading under which the figure lists a configuration."""
    if name.endswith(SHUFFLED):
        return "control"
    if "," in name:
        return "one setting as in the paper"
    if "without" in name:
        return "one left out"
    return "one alone" if name.startswith("only") and name != "only clip" else "together"


def matches(pattern: str, name: str, rows: Container[str]) -> bool:
    """Whether `--only pattern` selects a configuration: by its name, else by a part of its name."""
    return pattern == name if pattern in rows else pattern in name


def ablation_points(asked: argparse.Namespace) -> list[Point]:
    """The grid of runs. Seeds vary slowest, so that an interrupted run has complete seeds."""
    rows = configurations(find_preset(asked.preset))
    chosen = {
        name: config
        for name, config in rows.items()
        if not asked.only or any(matches(pattern, name, rows) for pattern in asked.only)
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
        "--only", nargs="+", help="names of configurations, or parts of their names"
    )
    parser.add_argument(
        "--reports", nargs="+", choices=REPORTS, default=["own"], help="whose reports to train on"
    )
    run_experiment(parser, ablation_points, score_pretraining, arguments)


if __name__ == "__main__":
    main()
