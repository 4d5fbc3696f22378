"""Weights that come with the package: `load_pretrained("tiny")` needs no network.

A shipped folder is one of `save_pretrained`, in half precision, with `example.json` beside it: what
the model made of one fixed example when the weights were stored. The example is computed again at
each load. If the library computes something else by now, the weights mean nothing any more and are
refused by name.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from mg3d.config import PretrainConfig
from mg3d.data.batch import Patient, collate
from mg3d.encoders import Encoder
from mg3d.model import FEATURES, MG3D
from mg3d.modes import evaluating
from mg3d.text.tokens import tokenize_report
from mg3d.training.step import Pretraining
from mg3d.weights.hub import MODEL

FOLDER = Path(__file__).parent / "shipped"
EXAMPLE = "example.json"
TOLERANCE = 0.01  # of the largest value of a feature; another machine's rounding is below 0.001
SENTENCES = (
    "the heart is enlarged.",
    "there is a nodule in the left upper lobe.",
    "no pleural effusion.",
)


def shipped_names() -> tuple[str, ...]:
    """Names that `load_pretrained` takes for weights of the package."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob(f"*/{MODEL}")))


def find_shipped(name: str | Path) -> Path | None:
    """Folder of the shipped weights of that name; None if there are none, or a path is called so.

    Args:
        name: what `load_pretrained` was given.
    """
    if str(name) in shipped_names() and not Path(name).exists():
        return FOLDER / str(name)
    return None


def example_volume(shape: tuple[int, int, int]) -> Tensor:
    """Waves of another length along each axis, in [0, 1], shape (1, H, W, D)."""
    waves = [torch.sin(torch.arange(size) * (2 + axis) / 7) for axis, size in enumerate(shape)]
    volume = waves[0][:, None, None] + waves[1][:, None] * waves[2]
    return (volume[None] / 4 + 0.5).float()


@torch.no_grad()
def example_features(module: nn.Module, shape: tuple[int, int, int]) -> dict[str, Tensor]:
    """What the module makes of the example: for each feature one vector, its mean over the others.

    Args:
        module: an encoder, an `MG3D` or a `Pretraining`.
        shape: of the grid.
    """
    model = module.model if isinstance(module, Pretraining) else module
    encoder = model if isinstance(model, Encoder) else model.encoder
    volume = example_volume(shape)[None]
    with evaluating(model):
        maps = encoder(volume)  # type: ignore[operator]
        found = {f"map {level}": item.mean((0, 2, 3, 4)) for level, item in enumerate(maps)}
        if isinstance(model, MG3D):
            text = model.text_encoder
            report = tokenize_report(text.tokenizer, SENTENCES, 64)
            batch = collate(text.pad_token)([Patient("example", "example", volume[0], report)])
            features = model(batch)
            for name in FEATURES:
                value = getattr(features, name)
                if value is not None:
                    found[name] = value.flatten(0, -2).mean(0)
    return found


def write_example(module: nn.Module, config: PretrainConfig, folder: Path) -> None:
    """Store what a module, filled from the folder's weights, makes of the example."""
    features = example_features(module, config.grid.volume_shape)
    numbers = {
        name: [float(f"{value:.5g}") for value in vector.tolist()]
        for name, vector in features.items()
    }
    content = {"shape": list(config.grid.volume_shape), "features": numbers}
    (folder / EXAMPLE).write_text(json.dumps(content) + "\n")


def check_example(module: nn.Module, folder: Path) -> None:
    """Compare what a module filled from the folder makes of the example with what is stored.

    Args:
        module: an encoder, an `MG3D` or a `Pretraining`, with the text encoder of the settings.
        folder: of shipped weights.

    Raises:
        ValueError: if a feature differs by more than `TOLERANCE` of its largest value.
    """
    stored = json.loads((folder / EXAMPLE).read_text())
    height, width, depth = stored["shape"]
    for name, vector in example_features(module, (height, width, depth)).items():
        then = torch.tensor(stored["features"].get(name, []))
        if then.shape == vector.shape:
            error = (then - vector).abs().max() / then.abs().max().clamp(min=1e-6)
            if error <= TOLERANCE:
                continue
            how = f"differs by {error:.1%} of its largest value"
        else:
            how = f"has {len(vector)} numbers, not {len(then)}"
        raise ValueError(
            f"the shipped weights '{folder.name}' do not fit this version: '{name}' of a fixed "
            f"example {how}; something that decides it has changed since they were made "
            "(encoder, fusion, text encoder, ...): make them again with the command in "
            f"{folder / 'README.md'}, or undo the change"
        )
