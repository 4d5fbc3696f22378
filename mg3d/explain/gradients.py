"""Maps by gradients: which voxels would change a score, and by how much?

Integrated gradients walk from a baseline to the volume in small steps, average the gradient on the
way, and multiply it by the difference: the map then adds up to the change of the score. Grad-CAM
weights the channels of an encoder's map by their mean gradient, so it is as coarse as that map.

Source: Sundararajan et al. 2017 (arXiv 1703.01365); Selvaraju et al. 2017 (arXiv 1610.02391).
Captum has both, for one score at a time; here many scores share the forward passes.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mg3d.explain.targets import Target


def integrated_gradients(
    target: Target,
    volume: Float[Tensor, "1 H W D"],
    baseline: Float[Tensor, "1 H W D"],
    mixtures: Float[Tensor, "M Q"],
    *,
    steps: int = 4,
) -> Float[Tensor, "M H W D"]:
    """One map per mixture of scores; it sums to that mixture's change from baseline to volume.

    Args:
        target: gives Q scores. Put its model in evaluation mode.
        volume: one patient, 0 to 1.
        baseline: where the walk starts, such as the mean training volume.
        mixtures: weights of the scores: a row with a single 1 explains one of them, a row of 1/n
            the mean of n.
        steps: on the way, each in the middle of its part. The sum holds the better, the more.

    Raises:
        ValueError: if there is no step.
    """
    if steps < 1:
        raise ValueError(f"integrated gradients need at least 1 step, got {steps}")
    difference = volume - baseline
    share = (torch.arange(steps, device=volume.device) + 0.5) / steps
    path = (baseline + share.view(-1, 1, 1, 1, 1) * difference).requires_grad_()
    scores = target(path)  # (steps, Q)
    maps = []
    for mixture in mixtures.to(scores):
        (slope,) = torch.autograd.grad((scores @ mixture).sum(), path, retain_graph=True)
        maps.append((slope.mean(0) * difference)[0])
    return torch.stack(maps).detach()


def grad_cam(
    target: Target,
    encoder: nn.Module,
    volume: Float[Tensor, "1 H W D"],
    mixtures: Float[Tensor, "M Q"],
    *,
    level: int = -1,
) -> Float[Tensor, "M h w d"]:
    """Sum of an encoder map's channels, each weighted by its mean gradient; not clipped at 0.

    Args:
        target: as above.
        encoder: of the target's model; called once by it.
        volume: one patient, 0 to 1.
        mixtures: as above.
        level: of the encoder's maps, fine to coarse.
    """
    kept: list[Tensor] = []
    handle = encoder.register_forward_hook(lambda _module, _inputs, maps: kept.append(maps[level]))
    try:
        scores = target(volume[None].detach().requires_grad_())  # a frozen model would give none
    finally:
        handle.remove()
    (features,) = kept  # (1, c, h, w, d)
    maps = []
    for mixture in mixtures.to(scores):
        (slope,) = torch.autograd.grad((scores @ mixture).sum(), features, retain_graph=True)
        maps.append((slope.mean((2, 3, 4), keepdim=True) * features).sum(1)[0])
    return torch.stack(maps).detach()
