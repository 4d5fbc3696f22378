"""Golden cases: their weights and inputs made again from names, their expected numbers from files.

The folder is `MG3D_PARITY_DIR`, else the copy beside this file. A case is `<case>.npz` (expected
outputs) and `<case>.json` (official parameter names and shapes, inputs, settings).
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import fill
import numpy as np
import torch

# Golden numbers come from a float64 run of the official code on float32 weights and inputs; a
# float32 run of ours may differ by rounding, which its own float32 run did by up to 5e-6.
SINGLE_MODULE = 1e-5  # of max |.|


def folder() -> Path:
    named = os.environ.get("MG3D_PARITY_DIR")
    return Path(named) if named else Path(__file__).parent / "cases"


def names(start: str) -> list[str]:
    """Every case of the folder whose name starts so."""
    return sorted(path.stem for path in folder().glob(f"{start}*.json"))


@dataclass(frozen=True)
class Case:
    """One case, by name."""

    name: str

    @cached_property
    def description(self) -> dict:
        return json.loads((folder() / f"{self.name}.json").read_text())

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        return dict(np.load(folder() / f"{self.name}.npz"))

    def parameter(self, name: str) -> torch.Tensor:
        """An official parameter, by its official name."""
        return torch.from_numpy(fill.param(self.name, name, self.description["params"][name]))

    def parameters(self, prefix: str = "") -> dict[str, torch.Tensor]:
        """Official parameters whose names start with `prefix`, which is taken off."""
        return {
            name.removeprefix(prefix): self.parameter(name)
            for name in self.description["params"]
            if name.startswith(prefix)
        }

    def input(self, name: str) -> torch.Tensor:
        about = self.description["inputs"][name]
        return torch.from_numpy(
            fill.tensor(self.name, name, about["shape"], about["scale"], about["shift"])
        )

    def check(self, name: str, ours: torch.Tensor, tolerance: float = SINGLE_MODULE) -> None:
        """Compare an output with the golden one, all of it or its stored sample and statistics."""
        shape = tuple(self.description["outputs"][name]["shape"])
        assert tuple(ours.shape) == shape, f"{name}: shape {tuple(ours.shape)}, golden {shape}"
        values = ours.detach().double().numpy()
        if name in self.expected:
            golden, found = self.expected[name], values
        else:
            stride = int(self.expected[f"{name}::stride"])
            golden, found = self.expected[f"{name}::sample"], values.reshape(-1)[::stride]
            statistics = [
                values.mean(), values.std(), np.sqrt((values**2).sum()), np.abs(values).max()
            ]  # fmt: skip
            largest = self.expected[f"{name}::stats"][3]
            np.testing.assert_allclose(
                statistics[:2], self.expected[f"{name}::stats"][:2], rtol=0,
                atol=tolerance * largest, err_msg=name,
            )  # fmt: skip
            np.testing.assert_allclose(
                statistics[2:], self.expected[f"{name}::stats"][2:], rtol=tolerance, err_msg=name
            )
        scale = float(self.description["outputs"][name]["max_abs"])
        np.testing.assert_allclose(found, golden, rtol=0, atol=tolerance * scale, err_msg=name)
