"""Report-to-volume retrieval by fused vectors: every report is fused with every volume.

The score of a pair is what CML learned to compare (METHOD: cross-modal global alignment): the
cosine of [report; volume] after fusion with [report; volume] alone, each through its own head. CML
trains it on matching pairs. The released retrieval compares two latents instead, by projections
that pre-training does not have; its mean report is here `sentence_tokens` of one token (see
`mean_sentence`), over real sentences instead of all 512 positions.

All pairs are computed by matrix products on blocks whose size follows a memory limit; no loop over
pairs, no token vectors of a pair. Source: MG-3D (arXiv 2412.05876), Fig. 4 and 5.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mg3d.attention.pooling import masked_mean
from mg3d.evaluation.pair_fusion import Side, fuse_pairs, gated_layers, prepare_side
from mg3d.evaluation.pair_pooling import SentencePool, VisualPool
from mg3d.model import MG3D, ForwardPass
from mg3d.modes import evaluating
from mg3d.objectives.cml import CML
from mg3d.objectives.contrastive import ContrastiveHead

MOST_PAIRS = 8192  # at a time: more would save no product, and leave the processor's cache


@dataclass(frozen=True)
class Blocks:
    """Reports and volumes that are fused at a time."""

    reports: int
    volumes: int


def mean_sentence(
    sentences: Float[Tensor, "R K d"], padding: Bool[Tensor, "R K"]
) -> tuple[Float[Tensor, "R 1 d"], Bool[Tensor, "R 1"]]:
    """Each report as one token, the mean of its real sentences: K times fewer gates to compute."""
    return masked_mean(sentences, padding)[:, None], padding.all(dim=1, keepdim=True)


@torch.no_grad()
def fused_similarity(
    model: MG3D,
    cml: CML,
    visual_tokens: Float[Tensor, "V N d"],
    sentence_tokens: Float[Tensor, "R K d"],
    sentence_padding: Bool[Tensor, "R K"],
    *,
    memory_gb: float = 1.0,
) -> Float[Tensor, "R V"]:
    """Cosine of fused with uni-modal vectors of every report (row) and volume (column).

    Args:
        model: with gated fusion.
        cml: the objective trained with it, whose heads compare.
        visual_tokens: `Features.visual_tokens`, projected, before fusion.
        sentence_tokens: `Features.sentence_tokens`, before fusion; see also `mean_sentence`.
        sentence_padding: True where a sentence is padding. A report without any is allowed.
        memory_gb: 10^9 bytes that intermediate tensors may take, above inputs and result; smaller
            blocks are slower and change the result by rounding only.

    Raises:
        ValueError: if the fusion is not gated, or the model follows quirks of the released code.
    """
    if model.forward_pass is not ForwardPass:
        raise ValueError(
            f"fusing all pairs follows MG3D's forward pass, got a {type(model).__name__}, whose "
            "settings have quirks; use a model without quirks"
        )
    layers = gated_layers(model.sentence_fusion)
    volume_maps, text_maps = zip(*layers, strict=True)
    # Reports of similar length stand together, so that blocks have little padding.
    lengths = (~sentence_padding).sum(dim=1)
    order = lengths.argsort(stable=True)
    sentence_tokens, sentence_padding = _real_first(sentence_tokens, sentence_padding)
    longest = max(1, int(lengths.max()))
    sizes = block_sizes(model, len(layers), longest, sentence_tokens.dtype.itemsize, memory_gb)
    similarity = sentence_tokens.new_empty(len(sentence_tokens), len(visual_tokens))
    with evaluating(model), evaluating(cml):
        for rows in order.split(sizes.reports):
            kept = max(1, int(lengths[rows].max()))
            sentences, padding = sentence_tokens[rows, :kept], sentence_padding[rows, :kept]
            side = prepare_side(text_maps, volume_maps, sentences)
            reports = _Reports(model, cml, side, sentences, padding)
            for start in range(0, len(visual_tokens), sizes.volumes):
                columns = slice(start, start + sizes.volumes)
                tokens = visual_tokens[columns]
                volumes = prepare_side(volume_maps, text_maps, tokens)
                similarity[rows, columns] = reports.compare(volumes, tokens)
    return similarity


def block_sizes(
    model: MG3D, num_layers: int, num_sentences: int, itemsize: int, memory_gb: float
) -> Blocks:
    """Reports and volumes at a time, so that intermediate tensors fit into `memory_gb`.

    Args:
        model: for its width and number of visual tokens.
        num_layers: of the fusion.
        num_sentences: of the longest report.
        itemsize: bytes of a number.
        memory_gb: 10^9 bytes.

    Raises:
        ValueError: if not even one pair fits; the message says what does.
    """
    dim, num_tokens = model.modality.embedding_dim, model.volume_pooler.weighting.in_features
    heads = model.fused_report_pooler.num_heads
    terms = num_sentences + num_layers
    numbers = memory_gb * 1e9 / itemsize
    # Counted generously: temporaries of an expression live beside its operands.
    per_report = dim * (num_sentences * (2 * num_layers + 6) + 3 * heads * terms)
    per_report += 2 * (heads * terms) ** 2
    per_volume = dim * num_tokens * (2 * num_layers + 4)
    per_pair = 4 * num_sentences * num_tokens + 3 * num_layers * (num_sentences + num_tokens)
    per_pair += 6 * heads * terms + 6 * dim
    reports = max(1, min(1024, int(0.5 * numbers / per_report)))
    left = numbers - reports * per_report
    volumes = int(left / (per_volume + reports * per_pair))
    while volumes < 8 and reports > 16:  # a narrow block of volumes makes slow products
        reports //= 2
        left = numbers - reports * per_report
        volumes = int(left / (per_volume + reports * per_pair))
    if volumes < 1:
        reports = 1
        volumes = int((numbers - per_report) / (per_volume + per_pair))
    if volumes < 1:
        needed = (per_report + per_volume + per_pair) * itemsize / 1e9
        raise ValueError(
            f"memory_gb must be at least {needed:.3g} for one pair of this model and reports of "
            f"{num_sentences} sentences, got {memory_gb}"
        )
    return Blocks(reports, min(volumes, max(1, MOST_PAIRS // reports)))


class _Reports:
    """A block of reports, ready to be compared with blocks of volumes."""

    def __init__(
        self,
        model: MG3D,
        cml: CML,
        side: Side,
        sentences: Float[Tensor, "R K d"],
        padding: Bool[Tensor, "R K"],
    ):
        self.model, self.side, self.padding = model, side, padding
        dim = sentences.shape[-1]
        self.fused_head, self.alone_head = _Head(cml.fused_head, dim), _Head(cml.alone_head, dim)
        self.pool = SentencePool(
            model.fused_report_pooler, side.out, padding, self.fused_head.first
        )
        self.alone = model.report_pooler(sentences, padding)  # (R, d)
        self.alone_projected = (self.alone @ self.alone_head.first.mT)[:, None]

    def compare(self, volumes: Side, tokens: Float[Tensor, "V N d"]) -> Float[Tensor, "R V"]:
        """Cosines of the block's reports with these volumes."""
        pairs = fuse_pairs(self.side, volumes, self.padding)
        projected, total, squares = self.pool(pairs.sentence)
        volume = VisualPool(self.model.fused_volume_pooler, volumes.out)(pairs.visual)  # (V, R, d)
        projected += (
            (volume.flatten(0, 1) @ self.fused_head.second.mT).view_as(volume).transpose(0, 1)
        )
        fused = self.fused_head.direction(
            projected, total + volume.sum(-1).mT, squares + _squares(volume).mT
        )
        alone = self.model.volume_pooler(tokens)
        unfused = self.alone_head.direction(
            self.alone_projected + alone @ self.alone_head.second.mT,
            self.alone.sum(-1)[:, None] + alone.sum(-1),
            _squares(self.alone)[:, None] + _squares(alone),
        )
        lengths = (_squares(fused) * _squares(unfused)).sqrt().clamp(min=1e-12)
        return fused.mul_(unfused).sum(dim=-1) / lengths


class _Head:
    """A `ContrastiveHead` for [report; volume] whose two halves are projected separately.

    std(x) * W LN(x) = W' x - mean(x) W' 1 + std(x) * W bias, with W' = W diag(scale of the norm);
    its length does not matter, because it is compared by cosine.
    """

    def __init__(self, head: ContrastiveHead, dim: int):
        weight = head.projection.weight * head.norm.weight
        self.first, self.second = weight[:, :dim], weight[:, dim:]  # of report and volume
        self.ones = weight.sum(dim=1)
        self.bias = head.projection.weight @ head.norm.bias
        self.eps, self.width = head.norm.eps, 2 * dim

    def direction(
        self,
        projected: Float[Tensor, "R V o"],
        total: Float[Tensor, "R V"],
        squares: Float[Tensor, "R V"],
    ) -> Float[Tensor, "R V o"]:
        """Vectors that point where the head's unit vectors do; `projected` is overwritten.

        Args:
            projected: W' x.
            total: sum over the entries of x.
            squares: sum of their squares.
        """
        mean = total / self.width
        std = (squares / self.width - mean.square()).clamp(min=0.0).add(self.eps).sqrt()
        projected.addcmul_(mean[..., None], self.ones, value=-1)
        return projected.addcmul_(std[..., None], self.bias)


def _squares(vectors: Float[Tensor, "*items d"]) -> Float[Tensor, "*items"]:
    return torch.linalg.vector_norm(vectors, dim=-1).square()


def _real_first(
    tokens: Float[Tensor, "R K d"], padding: Bool[Tensor, "R K"]
) -> tuple[Float[Tensor, "R K d"], Bool[Tensor, "R K"]]:
    """Move padded sentences to the end of each report; their order changes no result."""
    if not (padding[:, :-1] & ~padding[:, 1:]).any():
        return tokens, padding
    order = padding.to(torch.uint8).argsort(dim=1, stable=True)
    return tokens.gather(1, order[..., None].expand_as(tokens)), padding.gather(1, order)
