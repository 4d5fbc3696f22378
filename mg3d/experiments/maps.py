"""Which map finds a planted finding? Ways to explain, each beside its controls, by the masks.

    python -m mg3d.experiments.maps --data DIR --weights RUN/checkpoint --patients 64

explains each finding of held-out patients in several ways, scores the maps against the masks
(`explain.scoring`), and prints one tidy CSV: one row per way, control and measure, the mean over
findings with its 95 % interval over patients. `docs/results.md` quotes it.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mg3d.config import PretrainConfig, change
from mg3d.data.labels import CT_RATE_FINDINGS
from mg3d.explain import explainers as by
from mg3d.explain.comparison import ABSENT, OTHERS, OWN, compare_maps, macro_score, mean_masks
from mg3d.explain.explainers import Explainer
from mg3d.explain.scoring import MEASURES
from mg3d.explain.targets import probe_logits, zero_shot_targets
from mg3d.pretrained.load import load_pretrained
from mg3d.text.prompts import PROMPTS
from mg3d.training.patients import load_patients
from mg3d.training.step import Pretraining, build_pretraining

LOCATED = ("probe, gradients",)


def measure(
    weights: str, data: Path, *, patients: int | None = None, seed: int = 0, occlusion: bool = True
) -> list[dict[str, Any]]:
    """Rows with way, control, measure, value, low, high and the number of patients.

    Args:
        weights: for `load_pretrained`, with the heads of the objectives.
        data: a prepared folder with labels and masks.
        patients: held-out patients, those with a finding; None: all.
        seed: of the untrained weights and the bootstrap.
        occlusion: whether to take the time for it.

    Raises:
        ValueError: if the weights are not those of a pre-training run.
    """
    pretraining = load_pretrained(weights, part="pretraining", log=lambda _: None).module.eval()
    if not isinstance(pretraining, Pretraining) or pretraining.model.config is None:
        raise ValueError(
            f"maps need weights with the heads of the objectives; {weights} are "
            f"{type(pretraining).__name__}; give the checkpoint of a pre-training run"
        )
    config: PretrainConfig = change(pretraining.model.config, seed=seed)
    untrained = build_pretraining(config, pretraining.model.text_encoder).eval()
    train, val = load_patients(config, data, pretraining.model.text_encoder.tokenizer)
    average, usual = train.mean_volume(), mean_masks(train, CT_RATE_FINDINGS)
    logits = probe_logits(pretraining.model, train)
    stating = [PROMPTS[finding][0][0] for finding in CT_RATE_FINDINGS]
    ways: dict[str, Explainer] = {
        "probe, gradients": by.by_gradients(logits, average),
        "probe, Grad-CAM": by.by_grad_cam(logits, pretraining.model.encoder),
        "zero-shot, gradients": by.by_gradients(zero_shot_targets(pretraining), average),
        "untrained, gradients": by.by_gradients(probe_logits(untrained.model, train), average),
        "distance from the mean": by.by_difference(average),
        "usual place": by.by_place(usual),
    }
    if config.network.attention == "gated":
        for layer in range(config.network.fusion_layers):
            ways[f"gates, layer {layer + 1}"] = by.by_gates(pretraining.model, stating, layer=layer)
    if occlusion:
        ways["probe, occlusion"] = by.by_occlusion(logits, average, block=config.masking.mask_block)
    found = compare_maps(
        ways, val, CT_RATE_FINDINGS, places=usual, located=LOCATED, patients=patients
    )
    rows = []
    for way in dict.fromkeys(row["explainer"] for row in found):
        for control in (OWN, ABSENT, OTHERS):
            for name in MEASURES:
                score = macro_score(found, name, way, control, seed=seed)
                about = {"way": way, "control": control, "measure": name, "seed": seed}
                rows.append(about | vars(score))
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the CSV."""
    import pandas as pd

    parser = argparse.ArgumentParser(prog="python -m mg3d.experiments.maps", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="prepared folder with masks")
    parser.add_argument("--weights", required=True, help="what load_pretrained takes, with heads")
    parser.add_argument("--patients", type=int, default=None, help="held-out patients; default all")
    parser.add_argument("--seed", type=int, default=0, help="of untrained weights and bootstrap")
    parser.add_argument("--no-occlusion", action="store_true", help="leave out the slowest way")
    given = parser.parse_args(arguments)
    rows = measure(
        given.weights,
        given.data,
        patients=given.patients,
        seed=given.seed,
        occlusion=not given.no_occlusion,
    )
    pd.DataFrame(rows).to_csv(sys.stdout, index=False, float_format="%.4f")
    return 0


if __name__ == "__main__":
    sys.exit(main())
