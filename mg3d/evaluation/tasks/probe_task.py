"""Linear probe: what can be read off a frozen encoder by one logistic regression a label."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import nn

from mg3d.data.split import fingerprint
from mg3d.evaluation.tasks.multilabel import MultiLabel, not_learned
from mg3d.evaluation.tasks.task import Cases, Prediction


class Probe(MultiLabel):
    """Linear probe: one logistic regression a label on frozen features, cached in the run folder.

    Features are the mean and the maximum of the encoder's last map over its tokens.
    """

    tunings: ClassVar[tuple[str, ...]] = ("frozen",)

    def network(self, start: Any, train: Cases) -> nn.Module:
        """The encoder, frozen."""
        start.encoder.requires_grad_(False)
        self.train, self.digest = train, start.digest
        network: nn.Module = start.encoder
        return network

    def known(self, train: Cases, numbers: Int[np.ndarray, " N"]) -> dict[str, Any]:
        """Labels without two classes among the training cases: they have no score."""
        self.numbers = numbers
        return {"not_learned": not_learned(train, numbers)}

    def predict(
        self, network: nn.Module, cases: Cases, numbers: Int[np.ndarray, " N"], folder: Path
    ) -> Iterator[Prediction]:
        """Log-odds of every label; the regressions are fitted on the training cases' features."""
        from mg3d.evaluation.probe import linear_probe

        kept = folder.parents[1] / "features"
        features = self._features(network, self.train, kept)
        own = self._features(network, cases, kept)
        labels, train = self.train.labels, self.numbers
        assert labels is not None and cases.labels is not None
        if not len(numbers):
            return
        nothing = np.full((len(numbers), labels.shape[1]), np.nan)  # scored from files, not here
        fitted = linear_probe(features[train], labels[train], own[numbers], nothing)
        for number, scores in zip(numbers, fitted.scores, strict=True):
            case, patient = cases.case_id[number], cases.patient_id[number]
            truth = self.truth(cases, int(number))
            yield Prediction(case, patient, {"output": scores.tolist()}, truth)

    def _features(self, network: nn.Module, cases: Cases, folder: Path) -> np.ndarray:
        """Features of all cases, from the cache where weights and voxels are the same."""
        from safetensors.numpy import load_file, save_file

        split = cases.split
        path = folder / f"{split.split}_{self.digest}_{fingerprint(split)}.safetensors"
        if path.is_file():
            return np.asarray(load_file(path)["features"])
        device = next(network.parameters()).device
        size = self.config.compute.predict_batch
        found = []
        for start in range(0, len(cases), size):
            items = [cases.items[n] for n in range(start, min(start + size, len(cases)))]
            with torch.no_grad():
                tokens = network(cases.collate(items).to(device).volume)[-1].flatten(2)
            found.append(torch.cat([tokens.mean(-1), tokens.amax(-1)], 1).float().cpu().numpy())
        features = np.concatenate(found)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{np.random.default_rng().integers(2**32)}.partial")
        save_file({"features": features}, partial)
        partial.replace(path)
        return features
