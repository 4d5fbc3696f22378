"""Fusion of every report with every volume, without one token vector per pair.

A gated layer scales each token's own value by a number, out_i = s_i * (W own_i + b). After any
number of layers, a token of a pair is therefore a few fixed vectors times scalars of the pair:

    token_i = c_0i * chain(own_i) + sum over m of c_mi * shared_m

`chain` applies the value maps of all layers; `shared_m` are their biases, passed through the later
layers. The fixed vectors belong to one report or one volume; only the scalars belong to a pair. So
the gates of R x V pairs are one matrix product of all sentences with all visual tokens per map.

Softmax attention adds the other side's values and normalises: its tokens are no such sums, so it
is refused. Source: the closed form of `mg3d.attention.gated`; MG-3D (arXiv 2412.05876) Fig. 4.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mg3d.attention.fusion import Fusion
from mg3d.attention.gated import GatedCrossAttention


@dataclass(frozen=True)
class Terms:
    """Fixed vectors whose weighted sum is a token: the first per token, the others for all."""

    own: Float[Tensor, "I n d"]  # I reports or volumes of n tokens
    shared: Float[Tensor, "m d"]

    def through(self, linear: nn.Linear, *, first: bool) -> "Terms":
        """Terms of the mapped token. Its bias is one shared term more, with coefficient 1.

        Args:
            linear: the map.
            first: the token is `own` itself, with coefficient 1: the bias can go into `own`.
        """
        if first:
            return Terms(linear(self.own), self.shared)
        bias = linear.bias[None] if linear.bias is not None else self.shared[:0]
        return Terms(self.own @ linear.weight.mT, torch.cat([self.shared @ linear.weight.mT, bias]))


@dataclass(frozen=True)
class Side:
    """What all pairs of one report, or of one volume, have in common."""

    queries: tuple[Terms, ...]  # of each layer, already divided by sqrt(d)
    keys: tuple[Terms, ...]
    out: Terms  # after the last layer


# Coefficients of a token's terms. Their shapes broadcast to (R, K, V, N): those of a sentence have
# size 1 at N, those of a visual token size 1 at K, and a constant has no axes.
Coefficients = list[Tensor]


@dataclass(frozen=True)
class FusedPairs:
    """Coefficients of the fused tokens of R reports with V volumes; the terms are `Side.out`."""

    sentence: Coefficients  # each (R, K, V, 1)
    visual: Coefficients  # each (R, 1, V, N)


def gated_layers(fusion: Fusion) -> list[tuple[GatedCrossAttention, GatedCrossAttention]]:
    """Attention of the volume and of the text in each layer of a gated fusion.

    Raises:
        ValueError: if a layer has another attention; the message names it.
    """
    layers = []
    for layer in fusion.layers:
        volume, text = layer.volume, layer.text
        if not (isinstance(volume, GatedCrossAttention) and isinstance(text, GatedCrossAttention)):
            raise ValueError(
                "fusing all pairs by matrix products needs gated attention, got "
                f"{type(volume).__name__} and {type(text).__name__}; softmax attention adds values "
                "of the other side. Train with attention=gated, or compare vectors of each side "
                "alone (mg3d.evaluation.retrieval)"
            )
        layers.append((volume, text))
    return layers


def prepare_side(
    own: Sequence[GatedCrossAttention],
    other: Sequence[GatedCrossAttention],
    tokens: Float[Tensor, "I n d"],
) -> Side:
    """Send the tokens of one side through the maps of all layers.

    Args:
        own: this side's attention of each layer: gives queries and values.
        other: the other side's: gives the keys.
        tokens: before fusion.
    """
    terms = Terms(tokens, tokens.new_zeros(0, tokens.shape[-1]))
    queries, keys = [], []
    for number, (here, there) in enumerate(zip(own, other, strict=True)):
        first = number == 0
        query = terms.through(here.gates.query, first=first)
        root = tokens.shape[-1] ** 0.5
        queries.append(Terms(query.own / root, query.shared / root))
        keys.append(terms.through(there.gates.key, first=first))
        terms = terms.through(here.value, first=first)
    return Side(tuple(queries), tuple(keys), terms)


def fuse_pairs(
    text: Side, volume: Side, text_padding: Bool[Tensor, "R K"] | None = None
) -> FusedPairs:
    """Fuse every report with every volume.

    Args:
        text: of R reports of K sentences.
        volume: of V volumes of N tokens.
        text_padding: True where a sentence is padding; None: all are real.
    """
    one = text.out.own.new_ones(())
    sentence: Coefficients = [one]
    visual: Coefficients = [one]
    for number in range(len(text.queries)):
        if number:  # of the biases; the first layer has them in its own terms
            sentence, visual = [*sentence, one], [*visual, one]
        gates = _products(text.keys[number], volume.queries[number], sentence, visual).sigmoid_()
        if text_padding is None:
            visual_scale = gates.mean(dim=1, keepdim=True)
        else:
            gates.masked_fill_(text_padding[:, :, None, None], 0.0)
            count = (~text_padding).sum(dim=1).clamp(min=1)
            visual_scale = gates.sum(dim=1, keepdim=True) / count[:, None, None, None]
        gates = _products(text.queries[number], volume.keys[number], sentence, visual).sigmoid_()
        sentence_scale = gates.mean(dim=-1, keepdim=True)
        sentence = [sentence_scale * c for c in sentence]
        visual = [visual_scale * c for c in visual]
    return FusedPairs(sentence, visual)


def _products(
    text: Terms, volume: Terms, sentence: Coefficients, visual: Coefficients
) -> Float[Tensor, "R K V N"]:
    """Inner product of every sentence's with every visual token's weighted sum of terms."""
    (r, k, _), (v, n, _) = text.own.shape, volume.own.shape
    products = (text.own.flatten(0, 1) @ volume.own.flatten(0, 1).mT).view(r, k, v, n)
    if len(sentence) == 1 and not sentence[0].ndim:  # the first layer: coefficients are 1
        return products
    products.mul_(visual[0]).mul_(sentence[0])
    with_sentence = (text.own @ volume.shared.mT)[:, :, None, None, :]  # (R, K, 1, 1, m)
    with_visual = (volume.own @ text.shared.mT)[None, None]  # (1, 1, V, N, m)
    both = text.shared @ volume.shared.mT
    for b, c in enumerate(sentence[1:]):
        weighed = visual[0] * with_visual[..., b]
        for a, own in enumerate(visual[1:]):
            weighed = weighed + own * both[b, a]
        products.addcmul_(c, weighed)
    for a, c in enumerate(visual[1:]):
        products.addcmul_(c, sentence[0] * with_sentence[..., a])
    return products
