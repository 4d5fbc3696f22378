"""Pre-train from a shell: one process, or several under `accelerate launch -m mg3d.training`.

    python -m mg3d.training --data PREPARED --output RUN --preset paper --set batch_size=8

Prints one JSON line with the held-out losses before and after.
"""

import argparse
import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from mg3d.config import PRESETS, LossWeights, change, find_preset
from mg3d.training.loop import pretrain


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Turn `name=value` into settings; values are Python literals, anything else is text.

    Raises:
        ValueError: if a pair has no "=".
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise ValueError(f"a setting is name=value, got '{pair}'; for example batch_size=8")
        try:
            settings[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            settings[name] = value
    return settings


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="python -m mg3d.training", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--output", type=Path, required=True, help="run folder")
    parser.add_argument("--preset", default="tiny", choices=sorted(PRESETS))
    parser.add_argument("--resume", action="store_true", help="continue the run in --output")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", dest="settings")
    parser.add_argument(
        "--weights", nargs="*", default=[], metavar="OBJECTIVE=WEIGHT", help="0 switches it off"
    )
    given = parser.parse_args(arguments)
    config = find_preset(given.preset)
    try:
        weights = parse_settings(given.weights)
        if weights:
            config = change(config, weights=replace(config.weights, **weights))
        config = change(config, **parse_settings(given.settings))
    except (TypeError, ValueError) as error:
        parser.error(f"{error}; objectives are {', '.join(LossWeights.names())}")
    run = pretrain(config, given.data, given.output, resume=given.resume)
    print(json.dumps({"steps": run.steps, "initial": run.initial, "final": run.final}))


if __name__ == "__main__":
    main()
