"""What the model may not see: blocks of voxels, whole words. Drawn here and nowhere else.

A mask is True where something is hidden from the model and counted in a loss. All draws are made on
the CPU, so that a generator in the same state hides the same things on any device.

Source: MG-3D (arXiv 2412.05876), masked image and masked language modelling (Fig. 3a, 3b). Follows
the paper: blocks are drawn per patient (the released code draws one mask for the whole batch, and
its ratio is the share of blocks it *keeps*), words as a share of the real words (see `hide_words`).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

REPLACED_BY_MASK = 0.8  # of the hidden tokens; BERT's recipe
REPLACED_AT_RANDOM = 0.1  # the rest stays as it is


def hide_blocks(
    shape: tuple[int, int, int], block: int, ratio: float, batch: int, generator: torch.Generator
) -> Bool[Tensor, "B 1 H W D"]:
    """Hide exactly `round(ratio * blocks)` cubes of every volume, drawn for each patient anew.

    Args:
        shape: of the volumes, voxels.
        block: edge of a cube, voxels.
        ratio: share of cubes to hide, between 0 and 1.
        batch: number of patients.
        generator: on the CPU.

    Raises:
        ValueError: if the cubes do not fill the volume, or the ratio hides none of them.
    """
    if any(size % block for size in shape):
        nearest = tuple(max(block, round(size / block) * block) for size in shape)
        raise ValueError(
            f"the volume's shape {shape} must be divisible by the hidden block's edge {block}; "
            f"the nearest shape that fits is {nearest}"
        )
    height, width, depth = (size // block for size in shape)
    num_blocks = height * width * depth
    num_hidden = round(_share(ratio) * num_blocks)
    if num_hidden == 0:
        raise ValueError(
            f"at least one block must be hidden, but a share of {ratio} of {num_blocks} blocks "
            "rounds to none; take smaller blocks or a larger ratio"
        )
    order = torch.rand(batch, num_blocks, generator=generator).argsort(dim=1)
    hidden = torch.zeros(batch, num_blocks, dtype=torch.bool)
    hidden.scatter_(1, order[:, :num_hidden], True)
    return blocks_to_voxels(hidden.view(batch, height, width, depth), block)


def blocks_to_voxels(hidden: Bool[Tensor, "B h w e"], block: int) -> Bool[Tensor, "B 1 H W D"]:
    """Expand a mask of blocks to a mask of voxels."""
    for axis in (1, 2, 3):
        hidden = hidden.repeat_interleave(block, dim=axis)
    return hidden[:, None]


def hide_words(
    tokens: Int[Tensor, "B T"],
    word: Int[Tensor, "B T"],
    padding: Bool[Tensor, "B T"],
    *,
    ratio: float,
    mask_token: int,
    vocabulary_size: int,
    special_tokens: Sequence[int],
    generator: torch.Generator,
) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """Hide whole words of every report; return what the model reads, and True where it must guess.

    `round(ratio * words)` words a report are hidden, at least one of a report that has words. Each
    of their tokens becomes [MASK] (80 %), a random token (10 %) or stays (10 %), token by token.

    The released code draws round(ratio * 250) token *positions*, padding included, of which those
    on padding are then dropped: the same share on average, but a random number of words, for a
    short report often none.

    Args:
        tokens: ids of padded reports.
        word: whole word each token belongs to, -1 for none ([CLS], [SEP], padding).
        padding: True where a token stands for nothing.
        ratio: share of a report's words to hide, between 0 and 1.
        mask_token: id of [MASK].
        vocabulary_size: ids are below it.
        special_tokens: ids never drawn at random.
        generator: on the CPU.

    Raises:
        ValueError: if the ratio is no share, or every id of the vocabulary is a special one.
    """
    device = tokens.device
    tokens, word = tokens.cpu(), word.masked_fill(padding, -1).cpu()

    chosen = _choose_words(word, _share(ratio), generator)
    word_mask = chosen.gather(1, word.clamp(min=0)) & (word >= 0)

    ordinary = torch.ones(vocabulary_size, dtype=torch.bool)
    ordinary[list(special_tokens)] = False
    candidates = ordinary.nonzero().squeeze(1)
    if not len(candidates):
        raise ValueError(
            f"random words need a vocabulary with ordinary ids, but all {vocabulary_size} are "
            "special tokens; give the text encoder's own vocabulary_size and special_tokens"
        )
    drawn = torch.randint(len(candidates), tokens.shape, generator=generator)
    fate = torch.rand(tokens.shape, generator=generator)
    masked = word_mask & (fate < REPLACED_BY_MASK)
    at_random = word_mask & ~masked & (fate < REPLACED_BY_MASK + REPLACED_AT_RANDOM)

    read = tokens.masked_fill(masked, mask_token)
    read = torch.where(at_random, candidates[drawn].to(tokens.dtype), read)
    return read.to(device), word_mask.to(device)


def _choose_words(
    word: Int[Tensor, "B T"], ratio: float, generator: torch.Generator
) -> Bool[Tensor, "B words"]:
    """True for every word to be hidden, by its number in the report."""
    most = int(word.max()) + 1 if word.numel() else 0
    there = torch.zeros(len(word), max(1, most), dtype=torch.bool)
    row, _ = (word >= 0).nonzero(as_tuple=True)
    there[row, word[word >= 0]] = True

    num_words = there.sum(dim=1)
    num_hidden = (ratio * num_words).round().clamp(min=1)
    lot = torch.rand(there.shape, generator=generator).masked_fill(~there, 2.0)  # never drawn
    rank = lot.argsort(dim=1).argsort(dim=1)
    return rank < num_hidden[:, None]


def _share(ratio: float) -> float:
    if not 0 < ratio < 1:
        raise ValueError(
            f"the share to hide must lie between 0 and 1, got {ratio}; leave out the objectives "
            "that need something hidden if nothing shall be"
        )
    return ratio
