"""From an encoder's maps to a report: visual tokens of all scales, findings, a transformer decoder.

Every map is averaged to one small grid, and the channels of all scales are joined: 3 x 3 x 3 tokens
that know fine and coarse features of the same place. Beside them stand, if asked for, 18 tokens
that say which findings the volume is thought to show, by scores of the volume alone, in training as
in prediction. The decoder is Transformers' BERT with causal attention
and cross-attention, from scratch or from the weights of a text encoder, and it writes by
Transformers' own beam search.

Source: MG-3D's released report generation (arXiv 2412.05876) for the visual tokens. There a
LayerNorm runs over the *tokens*, which fixes the input grid, and a memory is read with the true
report in training only; here it runs over the channels, and there is no memory. Findings as an
independently trained bottleneck: Koh et al. 2020 (arXiv 2007.04612); a decoder that starts from an
encoder: Rothe et al. 2020 (arXiv 1907.12461).
"""

import warnings
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.evaluation.tasks.report_generation_vocabulary import Vocabulary
from mg3d.text.encoder import TextEncoder

MISTAKES = 0.1  # share of the report's own findings told wrongly, since predicted ones will be
MOST_WEIGHT = 20.0  # of a positive, for very rare findings

Maps = Sequence[Float[Tensor, "B _ _ _ _"]]


class Written(NamedTuple):
    """The output of a decoder in training."""

    logits: Float[Tensor, "B T V"]  # of the piece that follows each piece
    findings: Float[Tensor, "B F"] | None  # logit of each finding
    positive_weight: Float[Tensor, " F"] | None  # of a finding's positives in the loss


class VisualTokens(nn.Module):
    """Maps of all scales as tokens of one width.

    Args:
        channels: of each map.
        grid: tokens along each axis.
        width: of a token.
    """

    def __init__(self, channels: Sequence[int], grid: tuple[int, int, int], width: int):
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(sum(channels))
        self.project = nn.Linear(sum(channels), width)
        self.place = nn.Parameter(torch.zeros(grid[0] * grid[1] * grid[2], width))
        nn.init.normal_(self.place, std=0.02)

    def forward(self, maps: Maps) -> Float[Tensor, "B N d"]:
        """Tokens in the order of the grid, last axis fastest."""
        pooled = [F.adaptive_avg_pool3d(one, self.grid).flatten(2) for one in maps]  # (B, c, N)
        tokens: Tensor = self.project(self.norm(torch.cat(pooled, dim=1).mT)) + self.place
        return tokens


class FindingTokens(nn.Module):
    """Which findings a volume shows, as logits and as tokens for the decoder.

    Args:
        channels: of each map.
        width: of a token.
        positive_weight: of each finding's positives in the loss; with the number of negatives over
            that of positives, a logit above 0 means "likelier than on average".
    """

    positive_weight: Tensor

    def __init__(
        self, channels: Sequence[int], width: int, positive_weight: Float[Tensor, " F"]
    ) -> None:
        super().__init__()
        count = len(positive_weight)
        self.register_buffer("positive_weight", positive_weight.clamp(max=MOST_WEIGHT))
        self.score = nn.Linear(2 * sum(channels), count)
        self.present, self.absent = (nn.Parameter(torch.randn(count, width)) for _ in range(2))

    def forward(self, maps: Maps) -> Float[Tensor, "B F"]:
        """Logit of each finding, from mean and maximum of all maps."""
        pooled = [part for m in maps for part in (m.mean((2, 3, 4)), m.amax((2, 3, 4)))]
        logits: Tensor = self.score(torch.cat(pooled, dim=1))
        return logits

    def tokens(self, shown: Bool[Tensor, "B F"]) -> Float[Tensor, "B F d"]:
        """One token a finding, that says whether it is there."""
        return torch.where(shown[..., None], self.present, self.absent)


class ReportDecoder(nn.Module):
    """Writes a report about a volume's maps.

    Args:
        vocabulary: what it writes with.
        channels: of each map of the encoder.
        settings: of BERT, such as `hidden_size`; those of `start` if it is given.
        start: text encoder that the decoder starts from; None: fresh weights.
        grid: visual tokens along each axis.
        max_tokens: longest report, start and end included.
        positive_weight: of `FindingTokens`; None: no such tokens.
        told: what the finding tokens say in training: "volume", as in prediction, or "report", the
            findings of the report that is to be written.

    Raises:
        ValueError: if `start` has fewer positions or another vocabulary.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        channels: Sequence[int],
        *,
        settings: dict[str, Any] | None = None,
        start: TextEncoder | None = None,
        grid: tuple[int, int, int] = (3, 3, 3),
        max_tokens: int = 192,
        positive_weight: Float[Tensor, " F"] | None = None,
        told: Literal["volume", "report"] = "volume",
    ):
        super().__init__()
        self.vocabulary, self.max_tokens, self.told = vocabulary, max_tokens, told
        self.decoder = _build_decoder(vocabulary, max_tokens, settings or {}, start)
        width = self.decoder.config.hidden_size
        self.visual = VisualTokens(channels, grid, width)
        self.findings = (
            None if positive_weight is None else FindingTokens(channels, width, positive_weight)
        )

    def forward(self, maps: Maps, batch: Any) -> Written:
        """Logits of the pieces of `batch.ids`, and of the findings.

        The decoder is told what the volume is thought to show. With `told` "report" it is told in
        training what the report itself says, with some mistakes.
        """
        scores = None if self.findings is None else self.findings(maps)
        shown = None if scores is None else scores > 0
        if scores is not None and self.training and self.told == "report":
            shown = (batch.findings == 1) ^ (torch.rand_like(scores) < MISTAKES)
        logits: Tensor = self.decoder(
            input_ids=batch.ids, encoder_hidden_states=self._source(maps, shown), use_cache=False
        ).logits
        return Written(logits, scores, self.findings.positive_weight if self.findings else None)

    @torch.no_grad()
    def write(self, maps: Maps, *, beams: int = 3, length_penalty: float = 0.0) -> list[str]:
        """One report for each volume, the likeliest that beam search finds.

        Args:
            maps: of the encoder.
            beams: 1 is greedy decoding.
            length_penalty: a report's log-likelihood is divided by its length to this power; 0
                compares sums, which favours short reports, 1 compares means. Of beam search only.
        """
        from transformers import DynamicCache, EncoderDecoderCache

        shown = None if self.findings is None else self.findings(maps) > 0
        source = self._source(maps, shown)
        begin = torch.full((len(source), 1), self.vocabulary.begin, device=source.device)
        beam = {"length_penalty": length_penalty} if beams > 1 else {}
        # `generate` would give BERT a cache without room for cross-attention.
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        with warnings.catch_warnings():  # the name of the cache's argument differs by version
            warnings.filterwarnings("ignore", "`past_key_values` is deprecated", FutureWarning)
            ids: Int[Tensor, "B T"] = self.decoder.generate(
                begin,
                past_key_values=cache,
                attention_mask=torch.ones_like(begin),
                encoder_hidden_states=source,
                max_length=self.max_tokens,
                num_beams=beams,
                do_sample=False,
                **beam,
            )
        return [self.vocabulary.decode(row) for row in ids.tolist()]

    def _source(self, maps: Maps, shown: Bool[Tensor, "B F"] | None) -> Float[Tensor, "B S d"]:
        """What the decoder looks at."""
        visual: Tensor = self.visual(maps)
        if shown is None or self.findings is None:
            return visual
        return torch.cat([visual, self.findings.tokens(shown)], dim=1)


def _build_decoder(
    vocabulary: Vocabulary, max_tokens: int, settings: dict[str, Any], start: TextEncoder | None
) -> Any:
    """BERT as a decoder, with fresh weights or those of a text encoder."""
    from transformers import BertConfig, BertLMHeadModel

    given: dict[str, Any] = dict(settings) | {"max_position_embeddings": max_tokens}
    if start is not None:
        config: Any = start.model.config
        given = config.to_dict()
        if config.model_type != "bert" or config.vocab_size < vocabulary.size:
            raise ValueError(
                f"a decoder starts from a BERT whose vocabulary holds {vocabulary.size} pieces, "
                f"got {config.model_type} with {config.vocab_size} ({start.name}); take another "
                "text_encoder, or decoder_start 'scratch'"
            )
        if config.max_position_embeddings < max_tokens:
            raise ValueError(
                f"max_tokens {max_tokens} is more than the {config.max_position_embeddings} "
                f"positions of {start.name}; choose at most that, or decoder_start 'scratch'"
            )
    given |= {
        "is_decoder": True, "add_cross_attention": True, "tie_word_embeddings": False,
        "bos_token_id": vocabulary.begin, "eos_token_id": vocabulary.end,
        "pad_token_id": vocabulary.padding,
        "vocab_size": max(vocabulary.size, given.get("vocab_size", 0) if start else 0),
    }  # fmt: skip
    decoder = BertLMHeadModel(BertConfig.from_dict(given))
    if start is not None:
        found = decoder.bert.load_state_dict(start.model.state_dict(), strict=False)
        assert all("crossattention" in name for name in found.missing_keys), found.missing_keys
        head = decoder.cls.predictions.decoder
        with torch.no_grad():
            head.weight.copy_(decoder.bert.embeddings.word_embeddings.weight)
    return decoder
