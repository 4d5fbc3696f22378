"""The model card: what a folder of weights says about itself to whoever finds it on the hub.

Facts only its maker knows (licence, training data) are asked for and never guessed; scores come
from a run's `metrics.json`, and those of the phantom are called so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mg3d.config import parse_config

UNKNOWN = "unknown"  # the hub's own word for a licence nobody stated


@dataclass(frozen=True, kw_only=True)
class About:
    """What the maker of weights states about them.

    Args:
        licence: of the weights, by the hub's names ("apache-2.0", "cc-by-nc-4.0", ...).
        training_data: what they were trained on, in words; see `describe_data`.
        phantom: whether that was the made-up patients of `mg3d.phantom`.
        metrics: a run's scores, or the `metrics.json` that holds them.
    """

    licence: str = UNKNOWN
    training_data: str = ""
    phantom: bool = False
    metrics: Mapping[str, Any] | Path | None = None

    def scores(self) -> dict[str, float]:
        """The numbers among the metrics, intervals and bookkeeping left out.

        Raises:
            FileNotFoundError: if the file of metrics is not there.
        """
        metrics = self.metrics
        if isinstance(metrics, Path):
            metrics = json.loads(metrics.read_text())
        return {
            name: float(value)
            for name, value in (metrics or {}).items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }


def describe_data(prepared: Path) -> tuple[str, bool]:
    """`training_data` and `phantom` of a prepared folder, from its dataset.json.

    Raises:
        FileNotFoundError: if the folder is not a prepared one.
    """
    facts = json.loads((prepared / "dataset.json").read_text())
    counts = ", ".join(
        f"{count} {name}" for name, count in facts["counts"].items() if isinstance(count, int)
    )
    source = str(facts["source"])
    return f"{source} ({counts})", "phantom" in source.lower()


def write_card(folder: Path, part: str, config: Mapping[str, Any], about: About) -> None:
    """Write `README.md`, which the hub shows as the model's page.

    Args:
        folder: of the weights.
        part: what they are: "encoder", "model" or "pretraining".
        config: the content of config.json.
        about: what the maker states.
    """
    from huggingface_hub import ModelCardData

    data = ModelCardData(
        library_name="mg3d",
        license=about.licence,
        tags=["mg3d", "medical", "computed-tomography", "vision-language", "feature-extraction"]
        + (["phantom", "synthetic-data"] if about.phantom else []),
        pipeline_tag="image-feature-extraction",
    )
    text = f"---\n{data.to_yaml()}\n---\n\n{_body(part, config, about)}"
    (folder / "README.md").write_text(text, encoding="utf-8")


_WHAT = {
    "encoder": "Vision encoder for 3D CT volumes",
    "model": "Vision encoder and its fusion with reports, for 3D CT volumes",
    "pretraining": "Vision encoder, its fusion with reports and the heads of its objectives",
}


def _body(part: str, config: Mapping[str, Any], about: About) -> str:
    where = "held-out made-up patients (phantom)" if about.phantom else "held-out patients"
    licence = (
        "The licence of these weights was not stated by their maker. Ask before using them."
        if about.licence == UNKNOWN
        else f"Weights: {about.licence}."
    )
    paragraphs = [
        f"# MG-3D, {part}",
        f"{_WHAT[part]}, pre-trained with MG-3D (arXiv 2412.05876) by mg3d "
        f"{config['mg3d_version']}.",
        "## Use",
        "```python\nimport mg3d\n\n"
        f'loaded = mg3d.load_pretrained("FOLDER_OR_HUB_ID", part="{part}")\n```',
        _limits(part, config),
        "## Training data",
        about.training_data or "Not stated by the maker of these weights.",
        *(
            ["These are **phantom** patients: drawn by a program, with reports to match. Weights "
             "and scores show that the method works as built, and nothing about patients."]
            if about.phantom
            else []
        ),
        "## Scores",
        _table(about.scores(), where),
        "## Limits",
        "For research and teaching. **Not a medical device, and not for clinical use**: no score "
        "here says how the model does on another scanner, hospital or population.",
        "## Licence",
        licence,
    ]  # fmt: skip
    return "\n\n".join(paragraphs) + "\n"


def _limits(part: str, config: Mapping[str, Any]) -> str:
    if part == "encoder":
        return "Volumes come on a grid, in [0, 1]; each axis is a multiple of the encoder's stride."
    settings = parse_config(config["settings"], "config.json")
    return (
        f"Volumes come on a grid of {settings.grid.volume_shape} voxels, HU window "
        f"{settings.grid.hu_window} mapped to [0, 1]. The text encoder "
        f"(`{settings.network.text_encoder}`) is frozen and not part of these weights."
    )


def _table(scores: Mapping[str, float], where: str) -> str:
    if not scores:
        return "None stated."
    rows = [f"| `{name}` | {value:.4g} |" for name, value in scores.items()]
    return "\n".join([f"On {where}, as `metrics.json` holds them.", "", "| score | value |",
                      "|---|---|", *rows])  # fmt: skip
