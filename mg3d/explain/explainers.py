"""One interface over all ways to explain: a volume and weights of scores in, one map each out.

An explainer takes one volume and a matrix of mixtures, one row for each map that is wanted and one
column for each finding: a row with a single 1 explains one finding, a row of 1/n the mean of n. So
every explainer can be compared with its controls in the same way, and two of them need no model.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.explain.gates import sentence_gates
from mg3d.explain.gradients import grad_cam, integrated_gradients
from mg3d.explain.occlusion import occlusion
from mg3d.explain.targets import Target
from mg3d.model import MG3D

# volume, weights of the findings' scores in each map -> maps of any size
Explainer = Callable[[Float[Tensor, "1 H W D"], Float[Tensor, "M Q"]], Float[Tensor, "M h w d"]]


def by_gradients(
    target: Target, baseline: Float[Tensor, "1 H W D"], *, steps: int = 4
) -> Explainer:
    """Integrated gradients of a target's scores.

    Args:
        target: see `explain.targets`; its model in evaluation mode.
        baseline: such as the mean training volume.
        steps: on the way from it to the volume.
    """
    return lambda volume, mixtures: integrated_gradients(
        target, volume, baseline, mixtures, steps=steps
    )


def by_grad_cam(target: Target, encoder: nn.Module, *, level: int = -1) -> Explainer:
    """Grad-CAM of a target's scores at one of the encoder's maps.

    Args:
        target: see `explain.targets`; its model in evaluation mode.
        encoder: of the target's model.
        level: of the maps, fine to coarse.
    """
    return lambda volume, mixtures: grad_cam(target, encoder, volume, mixtures, level=level)


def by_occlusion(target: Target, cover: Float[Tensor, "1 H W D"], *, block: int) -> Explainer:
    """Drop of a target's scores when a block is covered.

    Args:
        target: see `explain.targets`; its model in evaluation mode.
        cover: such as the mean training volume.
        block: edge of a block, voxels.
    """
    return lambda volume, mixtures: _mix(mixtures, occlusion(target, volume, cover, block=block))


def by_gates(model: MG3D, sentences: Sequence[str], *, layer: int = 0) -> Explainer:
    """Gates of the visual tokens for one sentence per finding.

    Args:
        model: with gated attention.
        sentences: that state the findings, one each.
        layer: of the fusion with sentences.
    """
    return lambda volume, mixtures: _mix(
        mixtures, sentence_gates(model, volume, sentences)[:, layer]
    )


def by_place(places: Float[Tensor, "Q H W D"]) -> Explainer:
    """The same map for every patient, such as where each finding usually is; no model.

    Args:
        places: one map per finding.
    """
    return lambda _volume, mixtures: _mix(mixtures, places)


def by_difference(mean: Float[Tensor, "1 H W D"]) -> Explainer:
    """How far each voxel is from the mean patient's, the same for every finding; no model.

    Args:
        mean: such as the mean training volume.
    """
    return lambda volume, mixtures: (volume - mean).abs().expand(len(mixtures), -1, -1, -1)


def _mix(
    mixtures: Float[Tensor, "M Q"], maps: Float[Tensor, "Q h w d"]
) -> Float[Tensor, "M h w d"]:
    return torch.einsum("mq,qhwd->mhwd", mixtures.to(maps), maps)
