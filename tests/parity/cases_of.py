"""Golden cases: their weights and inputs made again from names, their expected numbers from files.

The folder is `MG3D_PARITY_DIR`, else the copy beside this file. A case is `<case>.npz` (expected
outputs) and `<case>.json` (official parameter names and shapes, inputs, settings).
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

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


# What tells a kind of case, beside the first letter of its name: something in its JSON.
KINDS = {
    "a": lambda about: "x1" in about["inputs"] and "masked/ctx1" in about["outputs"],
    "b": lambda about: {"x1", "img"} & about["inputs"].keys(),
    "c": lambda about: "sentence_index" in about["settings"],
    "d": lambda about: "volume" in about["inputs"] and "stage0" in about["outputs"],
    "e": lambda about: "conv.0.weight" in about["params"] and "rec" in about["outputs"],
    "f": lambda about: "mlm_head.bias" in about["params"] and "sfr_weighted" in about["outputs"],
    "g": lambda about: "ssm_base" in about["inputs"],
    "h": lambda about: "weighted_total" in about["outputs"],
}


def kind_of(name: str) -> str:
    """The kind of a case, by the first letter of its name and by what its JSON holds.

    Raises:
        ValueError: if the letter is none of a to h, or the JSON is not of that kind.
    """
    letter = name.partition("_")[0]
    if letter not in KINDS:
        raise ValueError(
            f"case {name} in {folder()}: a name starts with one of {', '.join(KINDS)} and '_', "
            "which tells its kind; name it so, or write an adapter for a new kind"
        )
    about = Case(name).description
    if not KINDS[letter]({"params": {}, "inputs": {}, "outputs": {}, "settings": {}} | about):
        raise ValueError(
            f"case {name} in {folder()}: its name says kind {letter}, but its JSON does not hold "
            "what that kind is made of (see parity/README.md); correct the name or the JSON"
        )
    return letter


def cases(kind: str, **with_input: bool) -> list[str]:
    """Every case of a kind in the folder.

    Args:
        kind: a to h.
        with_input: `given_maps=True` only those with an input `map_clean`, `stack=True` only those
            with an input `img`; False only those without.
    """
    tells = {"given_maps": "map_clean", "stack": "img"}
    return [
        name
        for name in names(f"{kind}_")
        if all(
            (tells[key] in Case(name).description.get("inputs", {})) == wanted
            for key, wanted in with_input.items()
        )
    ]


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

    def check_all(
        self,
        ours: dict[str, torch.Tensor],
        tolerance: float = SINGLE_MODULE,
        tolerances: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        """Compare every output of the case; that there is one without counterpart is an error.

        `tolerances` are those of single outputs, where not `tolerance`.
        """
        missing = sorted(self.description["outputs"].keys() - ours.keys())
        assert not missing, f"{self.name}: the adapter makes no {', '.join(missing)}"
        for name in self.description["outputs"]:
            self.check(name, ours[name], tolerances.get(name, tolerance))

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
