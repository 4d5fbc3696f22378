"""Frozen text encoders: any BERT-like Hugging Face model, and a small built-in one (no network).

A text encoder is asked for two things: the *states* of a report's tokens (embedding layer and last
layer), and the *identity* of a sentence, which is the embedding layer averaged over that sentence
alone and tells SSM which sentences of two patients say the same.

Source: MG-3D (arXiv 2412.05876), text encoder and inter-patient objectives. The identity follows
the released code: [CLS] and [SEP] belong to the average, positions count from 0.
"""

import contextlib
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from safetensors import SafetensorError
from torch import Tensor, nn

from mg3d.text.checks import check_files, check_tokenizer

# What transformers, torch and the tokenizers raise for files that do not belong together.
UNREADABLE = (
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError, EOFError, ImportError),
    *(pickle.UnpicklingError, SafetensorError),
)
EMBEDDED = Path(__file__).parent / "embedded"


@dataclass(frozen=True)
class TextStates:
    """Token features of a frozen encoder; 0 at padding, unless `keep_padding` asks for them."""

    embedded: Float[Tensor, "B T e"]  # embedding layer: token + position + type, normalised
    hidden: Float[Tensor, "B T e"]  # last layer


class TextEncoder(nn.Module):
    """A frozen text encoder: no gradient and no dropout, even after `train()`.

    Args:
        model: a Hugging Face encoder with an `embeddings` layer (BERT, RoBERTa, ELECTRA, ...).
        tokenizer: its fast tokenizer.
        name: what it is called in messages and settings.

    Raises:
        ValueError: if the model has no embedding layer of its own width.
    """

    def __init__(self, model: nn.Module, tokenizer: Any, name: str):
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.tokenizer = tokenizer
        self.name = name
        config: Any = model.config
        self.width = int(config.hidden_size)
        self.vocabulary_size = int(config.vocab_size)
        self.mask_token = int(tokenizer.mask_token_id)
        self.pad_token = int(tokenizer.pad_token_id)
        self.special_tokens: tuple[int, ...] = tuple(sorted(set(tokenizer.all_special_ids)))
        # RoBERTa-like models count positions from behind the padding token.
        offset = int(getattr(getattr(model, "embeddings", None), "padding_idx", None) or -1) + 1
        self.max_tokens = int(config.max_position_embeddings) - offset
        if self._embedding_width() != self.width:
            raise ValueError(
                f"text encoder {name} needs a layer `embeddings` of its own width {self.width}, "
                f"but {type(model).__name__} has none; use a BERT- or RoBERTa-like model"
            )

    @property
    def plain(self) -> "TextEncoder":
        """The encoder without a cache: for input that does not come twice, as masked reports."""
        return self

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stay in evaluation mode: a frozen encoder has nothing to train."""
        return super().train(False)

    @torch.no_grad()
    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        padding: Bool[Tensor, "B T"],
        *,
        keep_padding: bool = False,
    ) -> TextStates:
        """Read a batch of reports.

        Args:
            tokens: as `tokenize_report` gives them, padded with `pad_token`.
            padding: True where a token is padding; it changes nothing in the others.
            keep_padding: whether `hidden` holds what the model makes of padding, instead of 0.

        Raises:
            ValueError: if there are more tokens than the encoder has positions for.
        """
        if tokens.shape[1] > self.max_tokens:
            raise ValueError(
                f"text encoder {self.name} reads at most {self.max_tokens} tokens, got "
                f"{tokens.shape[1]}; tokenise with max_tokens={self.max_tokens} or less"
            )
        hidden = self.model(input_ids=tokens, attention_mask=(~padding).long()).last_hidden_state
        if not keep_padding:
            hidden = hidden.masked_fill(padding.unsqueeze(-1), 0)
        return TextStates(embedded=self.embed(tokens, padding), hidden=hidden)

    @torch.no_grad()
    def embed(
        self, tokens: Int[Tensor, "B T"], padding: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T e"]:
        """The embedding layer alone: `TextStates.embedded` without the cost of the layers above."""
        return self._embed(tokens).masked_fill(padding.unsqueeze(-1), 0)

    @torch.no_grad()
    def identity(self, sentences: Sequence[str]) -> Float[Tensor, "S e"]:
        """Mean of each sentence's embedding layer, read alone: the same in any report."""
        rows = [self._sentence_identity(sentence) for sentence in sentences]
        return torch.stack(rows) if rows else torch.zeros(0, self.width, device=self._device)

    def _sentence_identity(self, sentence: str) -> Float[Tensor, " e"]:
        encoded = self.tokenizer(sentence, truncation=True, max_length=self.max_tokens)
        tokens = torch.tensor([encoded["input_ids"]], device=self._device)
        return self._embed(tokens)[0].float().mean(dim=0)

    def _embed(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T e"]:
        return self.model.embeddings(input_ids=tokens)  # type: ignore[operator]

    def _embedding_width(self) -> int:
        if not hasattr(self.model, "embeddings"):
            return 0
        return self._embed(torch.tensor([[self.mask_token]], device=self._device)).shape[-1]

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


class CachedTextEncoder(TextEncoder):
    """A text encoder that keeps what it has computed: a frozen one computes the same again.

    Each new report is read alone, so that its states do not depend, not even in their last bit, on
    the batch it first came in: a resumed run sees the same numbers.

    Args:
        encoder: computes what is not in memory; the two share one model.
        max_bytes: of kept states; beyond it the least recently used are dropped.
    """

    def __init__(self, encoder: TextEncoder, max_bytes: int = 1 << 30):
        super().__init__(encoder.model, encoder.tokenizer, encoder.name)
        self.encoder = encoder
        self.max_bytes = max_bytes
        self.used_bytes = 0
        self._memory: OrderedDict[bytes | str, Tensor] = OrderedDict()

    @property
    def plain(self) -> TextEncoder:
        """The encoder without a cache: for input that does not come twice, as masked reports."""
        return self.encoder

    @torch.no_grad()
    def forward(
        self,
        tokens: Int[Tensor, "B T"],
        padding: Bool[Tensor, "B T"],
        *,
        keep_padding: bool = False,
    ) -> TextStates:
        """As `TextEncoder.forward`; states of padding are not kept, but computed each time."""
        if keep_padding:
            return self.encoder(tokens, padding, keep_padding=True)
        hidden = tokens.new_zeros(*tokens.shape, self.width, dtype=torch.float32)
        for row, outside in enumerate(padding):
            report = tokens[row][~outside]
            key = report.cpu().numpy().tobytes()
            hidden[row, ~outside] = self._recall(key, lambda r=report: self._read(r))  # type: ignore[misc]
        return TextStates(embedded=self.embed(tokens, padding), hidden=hidden)

    @torch.no_grad()
    def identity(self, sentences: Sequence[str]) -> Float[Tensor, "S e"]:
        """As `TextEncoder.identity`."""
        if not sentences:
            return self.encoder.identity(sentences)
        return torch.stack(
            [self._recall(s, lambda s=s: self.encoder.identity([s])[0]) for s in sentences]  # type: ignore[misc]
        )

    def _read(self, report: Int[Tensor, " T"]) -> Float[Tensor, "T e"]:
        tokens = report.unsqueeze(0)
        return self.encoder(tokens, torch.zeros_like(tokens, dtype=torch.bool)).hidden[0].float()

    def _recall(self, key: bytes | str, read: Callable[[], Tensor]) -> Tensor:
        if key in self._memory:
            self._memory.move_to_end(key)
        else:
            self._memory[key] = states = read()
            self.used_bytes += states.nbytes
            while self.used_bytes > self.max_bytes and len(self._memory) > 1:
                _, forgotten = self._memory.popitem(last=False)
                self.used_bytes -= forgotten.nbytes
        return self._memory[key].to(self._device)


def load_text_encoder(name_or_path: str | Path = "embedded") -> TextEncoder:
    """Load a frozen text encoder.

    Args:
        name_or_path: "embedded" for the built-in one; a folder with config.json, weights and
            tokenizer in Hugging Face format (nothing is fetched); or a model name of the hub, which
            is fetched unless the local hub cache has it.

    Raises:
        FileNotFoundError: if files are missing, with what to put where.
        ValueError: if a file is damaged or not what its name says, the weights do not fill the
            model, the tokenizer is another model's, or code of the model's own would be run.
    """
    folder = EMBEDDED if str(name_or_path) == "embedded" else Path(name_or_path).expanduser()
    local = folder.is_dir()
    if local:
        check_files(folder)
    tokenizer, model, found = _from_pretrained(folder if local else str(name_or_path))
    missing = sorted(key for key in found["missing_keys"] if "pooler." not in key)
    other_shape = sorted(key for key, *_ in found["mismatched_keys"])
    if missing or other_shape:
        raise ValueError(
            f"the weights of text encoder {name_or_path} must fill {type(model).__name__}, but "
            f"{len(missing)} tensors are missing (first {missing[:1]}) and {len(other_shape)} have "
            f"another shape (first {other_shape[:1]}); check that config.json belongs to the "
            "weights"
        )
    check_tokenizer(str(name_or_path), tokenizer, int(model.config.vocab_size))
    if hasattr(model, "pooler"):
        model.pooler = None  # never asked for, and random where the weights have none
    return TextEncoder(model, tokenizer, name=str(name_or_path))


def _from_pretrained(source: Path | str) -> tuple[Any, Any, dict[str, Any]]:
    """Tokenizer, model, and what the weights did not fill; never runs code of the model's own."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModel, AutoTokenizer

    local = isinstance(source, Path)
    try:
        with (
            quiet_transformers(),
            torch.random.fork_rng(devices=[]),
        ):  # an unused pooler draws numbers
            tokenizer = AutoTokenizer.from_pretrained(
                str(source), local_files_only=local, trust_remote_code=False
            )
            model, found = AutoModel.from_pretrained(
                str(source),
                local_files_only=local,
                trust_remote_code=False,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # named by the caller, instead of a report on stderr
            )
    except OSError as error:
        raise FileNotFoundError(
            f"text encoder {source} needs config.json, model.safetensors (or pytorch_model.bin) "
            "and a tokenizer (tokenizer.json or vocab.txt) in one folder, which cannot be loaded: "
            f"{str(error).splitlines()[0]}; download the model once (`hf download NAME --local-dir "
            "FOLDER`) and give that folder, or use 'embedded'"
        ) from error
    except (*UNREADABLE, StrictDataclassError) as error:
        said = str(error).strip().splitlines()[:1] if isinstance(error, ValueError) else []
        raise ValueError(
            f"text encoder {source} cannot be loaded ({': '.join([type(error).__name__, *said])}); "
            "the weights may be cut off or damaged, or config.json of a family that transformers "
            "does not know (it knows BERT, RoBERTa, ELECTRA); download the model again"
        ) from error
    return tokenizer, model, found


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar and no report on heads left out: that is meant."""
    from transformers.utils import logging

    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
