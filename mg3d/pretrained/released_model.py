"""The model as the released code computes it, with the quirks that the published weights need.

Each quirk is a setting (`config.quirks`); without any, `ReleasedMG3D` equals `MG3D`. A quirk
changes how a feature is made of earlier ones, and no parameter: the weights of one fit the other.

Source: released code; Q2, Q3, Q5 and Q10 of `docs/quirks.md`.
"""

from functools import cached_property
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mg3d.config import PretrainConfig, Quirks
from mg3d.encoders import Encoder
from mg3d.model import MG3D, ForwardPass, mean_sentences
from mg3d.text.encoder import TextEncoder

__all__ = ["ReleasedForwardPass", "ReleasedMG3D", "model_kind"]


class ReleasedForwardPass(ForwardPass):
    """How features are made in the released code, where its quirks are switched on.

    L is the number of report tokens after padding to `Quirks.padded_to`; without it, L = T.
    """

    model: "ReleasedMG3D"

    @property
    def quirks(self) -> Quirks:
        """Those of the model."""
        return self.model.quirks

    @cached_property
    def words(self) -> Float[Tensor, "B L d"]:
        """Projected tokens of the whole report, with those of padding (Q10)."""
        return self.read(self.batch.tokens) if self.quirks.padded_to else super().words

    @cached_property
    def sentence_tokens(self) -> Float[Tensor, "B K d"]:
        """Mean of each sentence's words, without gradient (Q5)."""
        words = self.words[:, : self.batch.tokens.shape[1]]
        return mean_sentences(words.detach() if self.quirks.detach_sentences else words, self.batch)

    @cached_property
    def global_tokens(self) -> Float[Tensor, "B N d"]:
        """Visual tokens as the contrastive objectives use them: projected a second time (Q3)."""
        tokens = self.visual_tokens
        return self.model.project_volume(tokens) if self.quirks.project_twice else tokens

    @cached_property
    def fused(self) -> tuple[Float[Tensor, "B N d"], Float[Tensor, "B K d"]]:
        """Visual tokens, projected twice (Q3), and sentence tokens after cross-attention."""
        return self.model.sentence_fusion(
            self.global_tokens, self.sentence_tokens, text_padding=self.batch.sentence_padding
        )

    @cached_property
    def volume_vector(self) -> Float[Tensor, "B d"]:
        """Visual tokens, projected twice (Q3), pooled."""
        return self.model.volume_pooler(self.global_tokens)

    @cached_property
    def filled_visual_tokens(self) -> Float[Tensor, "B N d"] | None:
        """Visual tokens of the masked volume after fusion with words instead of sentences (Q2)."""
        if self.batch.voxel_mask is None or not self.quirks.mim_reads_words:
            return super().filled_visual_tokens
        filled, _ = self.model.word_fusion(
            self.masked_visual_tokens, self.words, text_padding=self.word_padding
        )
        return filled

    @cached_property
    def repaired_words(self) -> Float[Tensor, "B T d"] | None:
        """Tokens of the report with hidden words, after fusion in which padding counts (Q10)."""
        if self.batch.hidden_tokens is None or not self.quirks.padded_to:
            return super().repaired_words
        _, fused = self.model.word_fusion(
            self.visual_tokens, self.read(self.batch.hidden_tokens), text_padding=self.word_padding
        )
        return self.model.word_transform(fused[:, : self.batch.tokens.shape[1]])

    @property
    def word_padding(self) -> Bool[Tensor, "B T"] | None:
        """Words that the gates leave out: padding, or none at all (Q10)."""
        return None if self.quirks.padded_to else self.batch.padding

    def read(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B L d"]:
        """Projected states of tokens and of the padding up to `padded_to` (Q10)."""
        text = self.model.text_encoder
        missing = max(0, self.quirks.padded_to - tokens.shape[1])
        states = text.plain(
            F.pad(tokens, (0, missing), value=text.pad_token),
            F.pad(self.batch.padding, (0, missing), value=True),
            keep_padding=True,
        )
        return self.model.word_tokens(states.hidden)


class ReleasedMG3D(MG3D):
    """`MG3D` with quirks of the released code.

    Args:
        encoder: as for `MG3D`.
        text_encoder: as for `MG3D`.
        quirks: which of them are followed; the other arguments are those of `MG3D`.

    Raises:
        ValueError: if the volume is to be projected twice, but the first projection changes its
            width.
    """

    forward_pass: ClassVar[type[ForwardPass]] = ReleasedForwardPass

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder,
        *,
        token_grid: tuple[int, int, int],
        dim: int,
        quirks: Quirks,
        fusion_layers: int = 2,
        attention: str = "gated",
    ):
        super().__init__(
            encoder,
            text_encoder,
            token_grid=token_grid,
            dim=dim,
            fusion_layers=fusion_layers,
            attention=attention,
        )
        if quirks.project_twice and encoder.width != dim:
            raise ValueError(
                f"project_twice needs an encoder as wide as the fusion, but they are "
                f"{encoder.width} and {dim} wide; change dim, or leave this quirk out"
            )
        self.quirks = quirks

    @classmethod
    def settings_of(cls, config: PretrainConfig) -> dict[str, Any]:
        """The quirks that the settings ask for."""
        return {"quirks": config.quirks}

    def embed_volumes(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B d"]:
        """One vector per volume, from the volume alone: `Features.volume_vector`."""
        tokens = self.volume_tokens(volume)
        if self.quirks.project_twice:
            tokens = self.project_volume(tokens)
        return self.volume_pooler(tokens)


def model_kind(config: PretrainConfig) -> type[MG3D]:
    """The class that settings describe: `MG3D`, or `ReleasedMG3D` if they have quirks."""
    return MG3D if config.quirks == Quirks() else ReleasedMG3D
