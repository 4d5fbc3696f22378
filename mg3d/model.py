"""MG-3D: what a volume and its report tell the network, alone and after meeting each other.

`Batch` in, `Features` out; no loss in it. The whole volume goes through the vision encoder once and
serves five objectives; the masked volume needs a second pass, for MIM. The report goes through the
frozen text encoder once whole (which can be remembered) and once with hidden words.

Source: MG-3D (arXiv 2412.05876), Fig. 2. Follows the paper where the released code differs by a
slip: MIM is fused with sentences (the released code sends it through the word stack, Q2), the
volume is projected once (there, twice for the contrastive objectives, Q3), their gradient reaches
the text projection (there not, Q5), and padding counts nowhere (there, in the words' gates, Q10).
`mg3d.config.Quirks` brings each of these back.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.attention.fusion import Fusion
from mg3d.attention.informed import SentenceInformedFeatures
from mg3d.attention.pooling import SentenceAttentionPool, TokenWeightingPooler, mean_by_index
from mg3d.config import PretrainConfig, Quirks, parse_config
from mg3d.data.batch import Batch
from mg3d.encoders import Encoder, build_encoder
from mg3d.text.encoder import (
    CachedTextEncoder,
    TextEncoder,
    TextStates,
    load_text_encoder,
)
from mg3d.weights.hub import HubModel

__all__ = ["MG3D", "Features", "build_model"]


@dataclass(frozen=True)
class Features:
    """What the objectives read; d is the fusion width, e the text encoder's, K counts sentences."""

    token_grid: tuple[int, int, int]  # N tokens stand on this grid, in C order
    visual_tokens: Float[Tensor, "B N d"]  # the volume alone
    sentence_tokens: Float[Tensor, "B K d"]  # the report alone
    volume_vector: Float[Tensor, "B d"]  # the volume alone, pooled
    report_vector: Float[Tensor, "B d"]  # the report alone, pooled
    fused_volume_vector: Float[Tensor, "B d"]  # the volume, having seen the sentences
    fused_report_vector: Float[Tensor, "B d"]  # the sentences, having seen the volume
    informed_sentences: Float[Tensor, "B K d"]  # what each sentence asks of the volume
    aggregate: Float[Tensor, "B d"]  # the volume as put together from its sentences
    embedded_sentences: Float[Tensor, "B K e"]  # frozen: embedding layer, averaged per sentence
    identity: Float[Tensor, "B K e"]  # frozen: each sentence embedded on its own
    filled_visual_tokens: Float[Tensor, "B N d"] | None  # hidden blocks, having seen the report
    repaired_words: Float[Tensor, "B T d"] | None  # hidden words, having seen the volume


class MG3D(HubModel):
    """Encoders of both modalities and their fusion.

    Args:
        encoder: volume -> maps, fine to coarse; see `mg3d.encoders`.
        text_encoder: frozen; its weights are not part of this module's state.
        token_grid: size of the encoder's last map, tokens along each axis.
        dim: fusion width d.
        fusion_layers: layers of each fusion stack.
        attention: a key of `mg3d.attention.ATTENTIONS`.
        quirks: of the released code, to be followed; none by default.

    Attributes:
        config: what `build_model` built it from; saved with its weights.

    Raises:
        ValueError: if the volume shall be projected twice, but the first projection changes its
            width.
    """

    hub_part: ClassVar[str] = "model"
    config: PretrainConfig | None = None

    def __init__(
        self,
        encoder: Encoder,
        text_encoder: TextEncoder,
        *,
        token_grid: tuple[int, int, int],
        dim: int,
        fusion_layers: int = 2,
        attention: str = "gated",
        quirks: Quirks | None = None,
    ):
        super().__init__()
        self.quirks = quirks or Quirks()
        if self.quirks.project_twice and encoder.width != dim:
            raise ValueError(
                f"project_twice needs an encoder as wide as the fusion, but they are "
                f"{encoder.width} and {dim} wide; change dim, or leave this quirk out"
            )
        self.encoder = encoder
        self._text_encoder = (text_encoder,)  # in a tuple: frozen, so neither trained nor saved
        self.token_grid = token_grid
        num_tokens = math.prod(token_grid)

        self.volume_projection = nn.Linear(encoder.width, dim)
        self.text_projection = nn.Linear(text_encoder.width, dim)
        self.modality = nn.Embedding(2, dim)  # 0: text, 1: volume
        nn.init.normal_(self.modality.weight, std=0.02)
        for layer in (self.volume_projection, self.text_projection):
            # 0.02 at the paper's width of 768; at any other, tokens start out as large as there.
            nn.init.normal_(layer.weight, std=0.02 * (768 / layer.in_features) ** 0.5)
            nn.init.zeros_(layer.bias)

        self.sentence_fusion = Fusion(dim, fusion_layers, attention=attention)
        self.word_fusion = Fusion(dim, fusion_layers, attention=attention)
        self.volume_pooler = TokenWeightingPooler(num_tokens, dim)
        self.report_pooler = SentenceAttentionPool(dim)
        self.fused_volume_pooler = TokenWeightingPooler(num_tokens, dim)
        self.fused_report_pooler = SentenceAttentionPool(dim)
        self.informed = SentenceInformedFeatures(dim)
        self.word_transform = nn.Sequential(
            nn.Linear(dim, dim), nn.GELU(), nn.LayerNorm(dim, eps=1e-12)
        )

    @property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder."""
        return self._text_encoder[0]

    def forward(self, batch: Batch) -> Features:
        """Encode and fuse; what is hidden in `batch` is filled in, and only that."""
        visual_tokens = self.volume_tokens(batch.volume)
        words, embedded, identity = self._read_reports(batch)
        sentence_tokens = self._sentence_tokens(words, batch)

        global_tokens = self._project_again(visual_tokens)
        padding = batch.sentence_padding
        fused_volume, fused_sentences = self.sentence_fusion(
            global_tokens, sentence_tokens, text_padding=padding
        )
        volume_vector = self.volume_pooler(global_tokens)
        informed, aggregate = self.informed(volume_vector, sentence_tokens, padding)

        return Features(
            token_grid=self.token_grid,
            visual_tokens=visual_tokens,
            sentence_tokens=sentence_tokens,
            volume_vector=volume_vector,
            report_vector=self.report_pooler(sentence_tokens, padding),
            fused_volume_vector=self.fused_volume_pooler(fused_volume),
            fused_report_vector=self.fused_report_pooler(fused_sentences, padding),
            informed_sentences=informed,
            aggregate=aggregate,
            embedded_sentences=embedded,
            identity=identity,
            filled_visual_tokens=self._fill_voxels(batch, words, sentence_tokens),
            repaired_words=self._repair_words(batch, visual_tokens),
        )

    def _fill_voxels(
        self,
        batch: Batch,
        words: Float[Tensor, "B L d"],
        sentence_tokens: Float[Tensor, "B K d"],
    ) -> Float[Tensor, "B N d"] | None:
        """Visual tokens of the masked volume, having seen the report."""
        if batch.voxel_mask is None:
            return None
        seen = batch.volume.masked_fill(batch.voxel_mask, 0.0)  # 0 is air, -1000 HU
        visual_tokens = self.volume_tokens(seen)
        if self.quirks.mim_reads_words:
            filled, _ = self.word_fusion(visual_tokens, words, text_padding=self._uncounted(batch))
        else:
            filled, _ = self.sentence_fusion(
                visual_tokens, sentence_tokens, text_padding=batch.sentence_padding
            )
        return filled

    def _repair_words(
        self, batch: Batch, visual_tokens: Float[Tensor, "B N d"]
    ) -> Float[Tensor, "B T d"] | None:
        """Word tokens of the report with hidden words, having seen the whole volume."""
        if batch.hidden_tokens is None:
            return None
        hidden = self._states(batch.hidden_tokens, batch.padding, self.text_encoder.plain).hidden
        words = self.word_tokens(hidden)
        _, read = self.word_fusion(visual_tokens, words, text_padding=self._uncounted(batch))
        return self.word_transform(read[:, : batch.tokens.shape[1]])

    def _read_reports(
        self, batch: Batch
    ) -> tuple[Float[Tensor, "B L d"], Float[Tensor, "B K e"], Float[Tensor, "B K e"]]:
        """Word tokens; and, frozen, each sentence's embeddings in its report and on its own."""
        with torch.no_grad():
            text = self._states(batch.tokens, batch.padding, self.text_encoder)
            identity = self._identity(batch)
            embedded = _mean_sentences(text.embedded, batch)
        return self.word_tokens(text.hidden), embedded, identity

    def _states(
        self,
        tokens: Int[Tensor, "B T"],
        padding: Bool[Tensor, "B T"],
        reader: TextEncoder,
    ) -> TextStates:
        """What the frozen encoder makes of tokens; of padding too, where that counts (Q10)."""
        if not self.quirks.padded_to:
            return reader(tokens, padding)
        missing = max(0, self.quirks.padded_to - tokens.shape[1])
        return reader.plain(
            F.pad(tokens, (0, missing), value=reader.pad_token),
            F.pad(padding, (0, missing), value=True),
            keep_padding=True,
        )

    def _uncounted(self, batch: Batch) -> Bool[Tensor, "B T"] | None:
        """Words that no gate counts: padding, unless that counts too (Q10)."""
        return None if self.quirks.padded_to else batch.padding

    def _sentence_tokens(
        self, words: Float[Tensor, "B L d"], batch: Batch
    ) -> Float[Tensor, "B K d"]:
        """Mean of each sentence's words, without their gradient where the code cuts it (Q5)."""
        return _mean_sentences(words.detach() if self.quirks.detach_sentences else words, batch)

    def _project_again(self, visual_tokens: Float[Tensor, "B N d"]) -> Float[Tensor, "B N d"]:
        """Visual tokens as they meet sentences: as they are, or projected once more (Q3)."""
        return self._project(visual_tokens) if self.quirks.project_twice else visual_tokens

    def _project(self, tokens: Float[Tensor, "B N c"]) -> Float[Tensor, "B N d"]:
        return self.volume_projection(tokens) + self.modality.weight[1]

    def volume_tokens(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B N d"]:
        """Projected visual tokens of volumes in 0 to 1, with the modality's own offset."""
        return self._project(self.encoder(volume)[-1].flatten(2).mT)  # from (B, C, h, w, e)

    def word_tokens(self, hidden: Float[Tensor, "B T e"]) -> Float[Tensor, "B T d"]:
        """Projected word tokens, with the modality's own offset."""
        return self.text_projection(hidden) + self.modality.weight[0]

    def embed_volumes(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B d"]:
        """One vector a volume, knowing nothing of any report."""
        return self.volume_pooler(self._project_again(self.volume_tokens(volume)))

    def embed_reports(self, batch: Batch) -> Float[Tensor, "B d"]:
        """One vector a report, knowing nothing of any volume."""
        words = self.word_tokens(self.text_encoder(batch.tokens, batch.padding).hidden)
        return self.report_pooler(self._sentence_tokens(words, batch), batch.sentence_padding)

    def _hub_settings(self) -> dict[str, Any]:
        if self.config is None:
            raise ValueError(
                "a model is saved with the settings it was built from, and this one was built by "
                "hand; use mg3d.build_model(config)"
            )
        return {"settings": asdict(self.config)}

    @classmethod
    def _from_hub_settings(cls, settings: dict[str, Any], source: Path, **given: Any) -> "MG3D":
        return build_model(parse_config(settings["settings"], source), **given)

    def _identity(self, batch: Batch) -> Float[Tensor, "B K e"]:
        """Frozen identity of every sentence, padded with zeros."""
        flat: Sequence[str] = [text for report in batch.sentences for text in report]
        vectors = self.text_encoder.identity(flat).to(batch.volume.device)
        real = ~batch.sentence_padding
        padded = vectors.new_zeros(*real.shape, vectors.shape[-1])
        padded[real] = vectors
        return padded


def _mean_sentences(words: Float[Tensor, "B L c"], batch: Batch) -> Float[Tensor, "B K c"]:
    """Mean over each sentence's words; L may be longer than the batch's T, by padding."""
    num_sentences = batch.sentence_padding.shape[1]
    means, _ = mean_by_index(words[:, : batch.tokens.shape[1]], batch.sentence, num_sentences)
    return means


def build_model(config: PretrainConfig, text_encoder: TextEncoder | None = None) -> MG3D:
    """The model of a run, with fresh weights drawn from torch's global generator.

    Args:
        config: the only place where settings are read.
        text_encoder: one already loaded, so that several models share it and what it remembers.

    Raises:
        ValueError: if the volume is not divisible by the encoder's stride.
    """
    network, volume_shape = config.network, config.grid.volume_shape
    recompute = {"checkpointing": True} if config.compute.activation_checkpointing else {}
    encoder = build_encoder(network.encoder, **recompute | dict(network.encoder_settings))
    if any(size % encoder.stride for size in volume_shape):
        s = encoder.stride
        raise ValueError(
            f"volume_shape {volume_shape} must be divisible by {s}, the encoder's total "
            f"stride; the nearest that fits is "
            f"{tuple(max(s, round(n / s) * s) for n in volume_shape)}"
        )
    height, width, depth = (size // encoder.stride for size in volume_shape)
    model = MG3D(
        encoder,
        text_encoder or build_text_encoder(config),
        token_grid=(height, width, depth),
        dim=network.dim,
        fusion_layers=network.fusion_layers,
        attention=network.attention,
        quirks=config.quirks,
    )
    model.config = config
    return model


def build_text_encoder(config: PretrainConfig) -> TextEncoder:
    """The run's frozen text encoder, remembering whole reports up to `text_cache_mb`."""
    return CachedTextEncoder(
        load_text_encoder(config.network.text_encoder),
        max_bytes=config.compute.text_cache_mb * 2**20,
    )
