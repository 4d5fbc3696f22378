"""MG-3D: two encoders and their fusion. A `Batch` goes in, `Features` come out; no loss is in it.

The whole volume goes through the vision encoder once and serves six objectives; MIM needs a second
pass, of the volume with hidden blocks. The report goes through the frozen text encoder once whole
(those states can be cached) and, for MLM and SFR, once with hidden words. What no objective reads
is not computed.

Source: MG-3D (arXiv 2412.05876), Fig. 2. Follows the paper; `docs/quirks.md` lists where the
released code differs, and `mg3d.pretrained.released_model` computes what it computes.
"""

import math
from collections.abc import Collection
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from mg3d.attention.fusion import Fusion
from mg3d.attention.informed import SentenceInformedFeatures
from mg3d.attention.pooling import SentenceAttentionPool, TokenWeightingPooler, mean_by_index
from mg3d.config import PretrainConfig, Quirks, parse_config
from mg3d.data.batch import Batch
from mg3d.encoders import Encoder, build_encoder
from mg3d.encoders.parts import in_parts
from mg3d.text.encoder import CachedTextEncoder, TextEncoder, load_text_encoder
from mg3d.weights.hub import HubModel

__all__ = ["FEATURES", "MG3D", "Features", "ForwardPass", "build_model"]

# Value of a feature that was not asked for. Its type is `Any`, so that the fields below can have
# the types of features that were.
_NOT_COMPUTED: Any = None


@dataclass(frozen=True, kw_only=True)
class Features:
    """What the objectives read; None where a feature was not asked for.

    B patients, N visual tokens, K sentences of a report (padded), T tokens of a report (padded);
    d is the fusion width, e the text encoder's width.
    """

    token_grid: tuple[int, int, int]  # the N visual tokens, in C order
    # Fields stand in the order in which they are computed.
    visual_tokens: Float[Tensor, "B N d"] = _NOT_COMPUTED  # the volume alone
    sentence_tokens: Float[Tensor, "B K d"] = _NOT_COMPUTED  # the report alone
    fused_volume_vector: Float[Tensor, "B d"] = _NOT_COMPUTED  # after fusion with the sentences
    fused_report_vector: Float[Tensor, "B d"] = _NOT_COMPUTED  # after fusion with the volume
    volume_vector: Float[Tensor, "B d"] = _NOT_COMPUTED  # the volume alone, pooled
    informed_sentences: Float[Tensor, "B K d"] = _NOT_COMPUTED  # values gated by volume_vector
    aggregate: Float[Tensor, "B d"] = _NOT_COMPUTED  # of the informed sentences
    report_vector: Float[Tensor, "B d"] = _NOT_COMPUTED  # the report alone, pooled
    embedded_sentences: Float[Tensor, "B K e"] = _NOT_COMPUTED  # frozen: mean of embedded words
    identity: Float[Tensor, "B K e"] = _NOT_COMPUTED  # frozen: each sentence embedded on its own
    # Of hidden voxels and words, after fusion; None also if the batch hides none.
    filled_visual_tokens: Float[Tensor, "B N d"] | None = None
    repaired_words: Float[Tensor, "B T d"] | None = None


FEATURES = tuple(field.name for field in fields(Features) if field.name != "token_grid")


class ForwardPass:
    """One batch on its way through the model: how each feature is made of earlier ones.

    A feature is computed when it is first read, and only once. Features of the same name as the
    fields of `Features` end up there; the others (`words`, `fused`, ...) are steps on the way.

    Args:
        model: whose layers are called.
        batch: with hidden voxels and words, or without.
    """

    def __init__(self, model: "MG3D", batch: Batch):
        self.model, self.batch = model, batch

    @cached_property
    def visual_tokens(self) -> Float[Tensor, "B N d"]:
        """Projected tokens of the whole volume."""
        return self.model.volume_tokens(self.batch.volume)

    @cached_property
    def words(self) -> Float[Tensor, "B T d"]:
        """Projected tokens of the whole report."""
        states = self.model.text_encoder(self.batch.tokens, self.batch.padding)
        return self.model.word_tokens(states.hidden)

    @cached_property
    def sentence_tokens(self) -> Float[Tensor, "B K d"]:
        """Mean of each sentence's words."""
        return mean_sentences(self.words, self.batch)

    @cached_property
    def fused(self) -> tuple[Float[Tensor, "B N d"], Float[Tensor, "B K d"]]:
        """Visual and sentence tokens after cross-attention in both directions."""
        return self.model.sentence_fusion(
            self.visual_tokens, self.sentence_tokens, text_padding=self.batch.sentence_padding
        )

    @cached_property
    def fused_volume_vector(self) -> Float[Tensor, "B d"]:
        """The volume after fusion, pooled."""
        return self.model.fused_volume_pooler(self.fused[0])

    @cached_property
    def fused_report_vector(self) -> Float[Tensor, "B d"]:
        """The sentences after fusion, pooled."""
        return self.model.fused_report_pooler(self.fused[1], self.batch.sentence_padding)

    @cached_property
    def volume_vector(self) -> Float[Tensor, "B d"]:
        """The volume alone, pooled."""
        return self.model.volume_pooler(self.visual_tokens)

    @cached_property
    def report_vector(self) -> Float[Tensor, "B d"]:
        """The sentences alone, pooled."""
        return self.model.report_pooler(self.sentence_tokens, self.batch.sentence_padding)

    @cached_property
    def informed(self) -> tuple[Float[Tensor, "B K d"], Float[Tensor, "B d"]]:
        """Sentence values gated by the volume vector, and their aggregate."""
        return self.model.informed(
            self.volume_vector, self.sentence_tokens, self.batch.sentence_padding
        )

    @property
    def informed_sentences(self) -> Float[Tensor, "B K d"]:
        """Sentence values gated by the volume vector."""
        return self.informed[0]

    @property
    def aggregate(self) -> Float[Tensor, "B d"]:
        """The gated values of all sentences of a report, as one vector."""
        return self.informed[1]

    @cached_property
    def embedded_sentences(self) -> Float[Tensor, "B K e"]:
        """Mean over each sentence's words of the text encoder's embedding layer."""
        embedded = self.model.text_encoder.embed(self.batch.tokens, self.batch.padding)
        return mean_sentences(embedded, self.batch)

    @cached_property
    def identity(self) -> Float[Tensor, "B K e"]:
        """The embedding layer's mean over each sentence tokenised alone; 0 where padded."""
        sentences = [sentence for report in self.batch.sentences for sentence in report]
        vectors = self.model.text_encoder.identity(sentences).to(self.batch.volume.device)
        real = ~self.batch.sentence_padding
        padded = vectors.new_zeros(*real.shape, vectors.shape[-1])
        padded[real] = vectors
        return padded

    @cached_property
    def masked_visual_tokens(self) -> Float[Tensor, "B N d"]:
        """Projected tokens of the volume with hidden blocks."""
        assert self.batch.voxel_mask is not None
        seen = self.batch.volume.masked_fill(self.batch.voxel_mask, 0.0)  # 0 is air, -1000 HU
        return self.model.volume_tokens(seen)

    @cached_property
    def filled_visual_tokens(self) -> Float[Tensor, "B N d"] | None:
        """Visual tokens of the masked volume after fusion with the sentences."""
        if self.batch.voxel_mask is None:
            return None
        filled, _ = self.model.sentence_fusion(
            self.masked_visual_tokens,
            self.sentence_tokens,
            text_padding=self.batch.sentence_padding,
        )
        return filled

    @cached_property
    def repaired_words(self) -> Float[Tensor, "B T d"] | None:
        """Tokens of the report with hidden words after fusion with the whole volume."""
        if self.batch.hidden_tokens is None:
            return None
        # Words are hidden anew in each step, so a cache would never find them again: `plain`.
        states = self.model.text_encoder.plain(self.batch.hidden_tokens, self.batch.padding)
        _, fused = self.model.word_fusion(
            self.visual_tokens,
            self.model.word_tokens(states.hidden),
            text_padding=self.batch.padding,
        )
        return self.model.word_transform(fused)


class MG3D(HubModel):
    """Encoders of both modalities and their fusion.

    Args:
        encoder: volume -> maps, fine to coarse; see `mg3d.encoders`.
        text_encoder: frozen; its weights are not part of this module's state.
        token_grid: size of the encoder's last map, tokens along each axis.
        dim: fusion width d.
        fusion_layers: layers of each fusion stack.
        attention: a key of `mg3d.attention.ATTENTIONS`.

    Attributes:
        config: what `build_model` built it from; saved with its weights.
    """

    hub_part: ClassVar[str] = "model"
    forward_pass: ClassVar[type[ForwardPass]] = ForwardPass
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
    ):
        super().__init__()
        self.encoder = encoder
        self._text_encoder = (text_encoder,)  # in a tuple: frozen, so neither trained nor saved
        self.token_grid = token_grid
        self.activation_batch = 0  # patients in the encoder at a time; 0: all, see `in_parts`
        num_tokens = math.prod(token_grid)

        self.volume_projection = nn.Linear(encoder.width, dim)
        self.text_projection = nn.Linear(text_encoder.width, dim)
        self.modality = nn.Embedding(2, dim)  # 0: text, 1: volume
        nn.init.normal_(self.modality.weight, std=0.02)
        for layer in (self.volume_projection, self.text_projection):
            # std 0.02 at the paper's width of 768; scaled so that tokens of other widths start out
            # equally large.
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

    def forward(self, batch: Batch, needed: Collection[str] = FEATURES) -> Features:
        """Compute the features in `needed`, and the features that these are made of.

        Args:
            batch: with hidden voxels and words (`Batch.hide`), or without.
            needed: names of fields of `Features`; all others may be None.

        Raises:
            ValueError: if there is no such feature.
        """
        unknown = sorted(set(needed) - set(FEATURES))
        if unknown:
            raise ValueError(f"features are {', '.join(FEATURES)}; got {', '.join(unknown)}")
        computed = self.forward_pass(self, batch)
        # In a fixed order, so that an objective's gradient is summed in the same order, and has the
        # same last bits, whatever the others need.
        values = {name: getattr(computed, name) for name in FEATURES if name in needed}
        on_the_way = {name: v for name, v in vars(computed).items() if name in FEATURES}
        return Features(token_grid=self.token_grid, **on_the_way | values)

    def project_volume(self, tokens: Float[Tensor, "B N c"]) -> Float[Tensor, "B N d"]:
        """Visual tokens at the fusion's width, with the modality's embedding added."""
        return self.volume_projection(tokens) + self.modality.weight[1]

    def volume_tokens(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B N d"]:
        """Projected visual tokens of volumes in 0 to 1."""
        tokens = in_parts(self._last_map, volume, self.activation_batch)
        return self.project_volume(tokens.flatten(2).mT)  # from (B, c, h, w, e)

    def _last_map(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B c h w e"]:
        last: Tensor = self.encoder(volume)[-1]
        return last

    def word_tokens(self, hidden: Float[Tensor, "B T e"]) -> Float[Tensor, "B T d"]:
        """Projected word tokens, with the modality's embedding added."""
        return self.text_projection(hidden) + self.modality.weight[0]

    def embed_volumes(self, volume: Float[Tensor, "B 1 H W D"]) -> Float[Tensor, "B d"]:
        """One vector per volume, from the volume alone: `Features.volume_vector`."""
        return self.volume_pooler(self.volume_tokens(volume))

    def embed_reports(self, batch: Batch) -> Float[Tensor, "B d"]:
        """One vector per report, from the report alone: `Features.report_vector`."""
        return self.forward_pass(self, batch).report_vector

    def _hub_settings(self) -> dict[str, Any]:
        if self.config is None:
            raise ValueError(
                "a model is saved with the settings it was built from, and this one was built by "
                "hand; use mg3d.build_model(config)"
            )
        return {"settings": asdict(self.config)}

    @classmethod
    def _from_hub_settings(cls, settings: dict[str, Any], source: Path, **given: Any) -> "MG3D":
        return build_model(parse_config(settings["settings"], source), kind=cls, **given)

    @classmethod
    def settings_of(cls, config: PretrainConfig) -> dict[str, Any]:
        """Keyword arguments that a subclass takes beside those of `MG3D`: none here.

        Raises:
            ValueError: if the settings ask for what only a subclass does.
        """
        if config.quirks != Quirks():
            raise ValueError(
                f"{cls.__name__} follows the paper, but the settings ask for {config.quirks}; "
                "build the model with kind=mg3d.pretrained.released_model.ReleasedMG3D, or leave "
                "out `quirks`"
            )
        return {}


def mean_sentences(words: Float[Tensor, "B T c"], batch: Batch) -> Float[Tensor, "B K c"]:
    """Mean over each sentence's words; 0 where a sentence is padding."""
    means, _ = mean_by_index(words, batch.sentence, batch.sentence_padding.shape[1])
    return means


def build_model(
    config: PretrainConfig,
    text_encoder: TextEncoder | None = None,
    *,
    kind: type[MG3D] = MG3D,
) -> MG3D:
    """The model of a run, with fresh weights drawn from torch's global generator.

    Args:
        config: the only place where settings are read.
        text_encoder: one already loaded, so that several models share it and its cache.
        kind: the class to build; `ReleasedMG3D` for settings with quirks of the released code.

    Raises:
        ValueError: if the volume is not divisible by the encoder's stride, or the settings have
            quirks and `kind` does not follow them.
    """
    network, volume_shape = config.network, config.grid.volume_shape
    recompute = {"checkpointing": True} if config.compute.activation_checkpointing else {}
    encoder = build_encoder(network.encoder, **recompute | dict(network.encoder_settings))
    if "window_recompute" not in network.encoder_settings:
        encoder.window_recompute = config.compute.window_recompute
    if any(size % encoder.stride for size in volume_shape):
        s = encoder.stride
        raise ValueError(
            f"volume_shape {volume_shape} must be divisible by {s}, the encoder's total "
            f"stride; the nearest that fits is "
            f"{tuple(max(s, round(n / s) * s) for n in volume_shape)}"
        )
    height, width, depth = (size // encoder.stride for size in volume_shape)
    model = kind(
        encoder,
        text_encoder or build_text_encoder(config),
        token_grid=(height, width, depth),
        dim=network.dim,
        fusion_layers=network.fusion_layers,
        attention=network.attention,
        **kind.settings_of(config),
    )
    model.activation_batch = config.compute.activation_batch
    model.config = config
    return model


def build_text_encoder(config: PretrainConfig) -> TextEncoder:
    """The run's frozen text encoder, with a cache of `text_cache_mb` for whole reports."""
    return CachedTextEncoder(
        load_text_encoder(config.network.text_encoder),
        max_bytes=config.compute.text_cache_mb * 2**20,
    )
