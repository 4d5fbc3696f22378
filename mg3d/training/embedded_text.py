"""Train the embedded text encoder: a small BERT, trained on phantom reports.

With a random text encoder, MLM stays at the unigram model and SSM is trivial. This one is trained
by masked language modelling on reports of patients that no phantom data set uses, and stored in
half precision in `mg3d/text/embedded/`. The command repeats the training:

    python -m mg3d.training.embedded_text --output DIR

Source: BERT (arXiv 1810.04805), masked language modelling, with whole words masked.
"""

import argparse
import copy
import functools
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.data.masking import hide_words
from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report
from mg3d.text.encoder import TextEncoder, load_text_encoder, quiet_transformers
from mg3d.text.report import report_sentences
from mg3d.text.tokens import TokenizedReport, tokenize_report
from mg3d.text.word_pieces import build_tokenizer, vocabulary
from mg3d.training.checkpoint import Progress
from mg3d.training.fit import fit
from mg3d.training.run_folder import RunFolder
from mg3d.training.run_log import RunLog

TRAIN_SEED, HELD_OUT_SEED = 20_000, 20_001  # of phantom data sets used for nothing else
TRAIN_REPORTS, HELD_OUT_REPORTS = 8_000, 300
STEPS, BATCH_TOKENS, LEARNING_RATE = 1_500, 1_500, 3e-3
VOCABULARY, MAX_TOKENS = 1_000, 256
WIDTH, LAYERS, HEADS = 128, 2, 4
MASKED_SHARE = 0.15


def phantom_sentences(seed: int, num_reports: int) -> list[list[str]]:
    """The sentences of the reports of the first patients of a phantom data set."""
    reports = [write_report(draw_patient(seed, patient)) for patient in range(num_reports)]
    return [report_sentences(report.findings, report.impression) for report in reports]


@dataclass(frozen=True)
class MaskedReports:
    """Reports with some of their words hidden."""

    tokens: Int[Tensor, "B T"]
    read: Int[Tensor, "B T"]  # tokens, the hidden ones replaced
    hidden: Bool[Tensor, "B T"]
    padding: Bool[Tensor, "B T"]

    def to(self, device: torch.device | str) -> "MaskedReports":
        """The same on `device`."""
        return MaskedReports(**{name: value.to(device) for name, value in vars(self).items()})


def mask_reports(
    tokenizer: Any, reports: Sequence[TokenizedReport], generator: torch.Generator
) -> MaskedReports:
    """A batch of reports, padded, with whole words hidden."""
    pad = functools.partial(nn.utils.rnn.pad_sequence, batch_first=True)
    tokens = pad([r.tokens for r in reports], padding_value=tokenizer.pad_token_id)
    word = pad([r.word for r in reports], padding_value=-1)
    padding = tokens == tokenizer.pad_token_id
    read, hidden = hide_words(
        tokens,
        word,
        padding,
        ratio=MASKED_SHARE,
        mask_token=tokenizer.mask_token_id,
        vocabulary_size=len(tokenizer),
        special_tokens=tokenizer.all_special_ids,
        generator=generator,
    )
    return MaskedReports(tokens, read, hidden, padding)


class HiddenWords(nn.Module):
    """Logits at hidden words only: the loss does not use the others, which would cost the most.

    Args:
        model: a BERT with a prediction head.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model: Any = model

    def forward(self, batch: MaskedReports) -> Float[Tensor, "M V"]:
        """One row per hidden token, one column an entry of the vocabulary."""
        attended = (~batch.padding).long()
        states = self.model.bert(input_ids=batch.read, attention_mask=attended).last_hidden_state
        logits: Tensor = self.model.cls(states[batch.hidden])
        return logits


def masked_words_step(words: nn.Module, batch: MaskedReports) -> dict[str, Tensor]:
    """Cross-entropy at the hidden words of a batch of reports, in nats per token."""
    return {"mlm": F.cross_entropy(words(batch), batch.tokens[batch.hidden])}


def untrained(vocabulary_size: int, seed: int) -> nn.Module:
    """The small BERT with initial weights chosen so that it can be trained within minutes.

    Positions are fixed sinusoids, and queries start equal to keys: at first, each token attends to
    similar and nearby tokens, so that attention within a sentence is soon learned. (Held-out loss
    after 300 steps: 3.1, and 3.6 without the equal keys; a plain BERT is then still near the
    unigram model.)

    SSM compares sentences by their embedding layer alone. Three choices make these embeddings
    differ: the normalisation has no offset; the wavelengths are so short that positions cancel over
    a sentence; and the word vectors of the prediction head are not tied to the embeddings, since
    tied vectors become similar for words that occur in the same context. (Of the pairs that SSM
    takes as the same, 29 % are about different findings; with wavelengths up to 64 and tied vectors
    44 %.)
    """
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=vocabulary_size,
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=MAX_TOKENS,
        type_vocab_size=1,
        tie_word_embeddings=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=WIDTH**-0.5,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    embeddings = model.bert.embeddings
    embeddings.position_embeddings.weight.data = sinusoids(MAX_TOKENS, WIDTH) * WIDTH**-0.5
    embeddings.token_type_embeddings.weight.data.zero_()
    for fixed in (embeddings.position_embeddings, embeddings.token_type_embeddings):
        fixed.requires_grad_(False)
    embeddings.LayerNorm.requires_grad_(False)  # weight 1, bias 0
    for layer in model.bert.encoder.layer:
        own = layer.attention.self
        own.key.weight.data.copy_(own.query.weight.data)
    return model


def sinusoids(positions: int, width: int) -> Float[Tensor, "P w"]:
    """Sines and cosines of wavelengths from 4 to 24 tokens, mean square 1."""
    wavelength = torch.logspace(math.log2(4), math.log2(24), width // 2, base=2)
    phase = 2 * math.pi * torch.arange(positions)[:, None] / wavelength
    return torch.cat([phase.sin(), phase.cos()], dim=1) * 2**0.5


def excerpts(
    reports: Sequence[Sequence[str]], tokenizer: Any, *, steps: int, seed: int
) -> Callable[[range], Iterator[MaskedReports]]:
    """A function that yields the batches of some steps: short texts first, whole reports last.

    The number of random numbers in a step depends on the texts drawn, so that all steps before the
    first requested one are drawn again.

    Args:
        reports: sentences of each.
        tokenizer: of the encoder.
        steps: of the whole run, over which the texts grow.
        seed: of the run.
    """

    def batches(asked: range) -> Iterator[MaskedReports]:
        generator = torch.Generator().manual_seed(seed)
        choice = np.random.default_rng(seed)
        for step in range(asked.stop):
            longest = 2 + round(14 * step / steps)  # sentences
            batch: list[TokenizedReport] = []
            while sum(len(excerpt.tokens) for excerpt in batch) < BATCH_TOKENS:
                report = reports[int(choice.integers(len(reports)))]
                start = int(choice.integers(len(report))) if choice.random() < 0.7 else 0
                sentences = report[start : start + int(choice.integers(1, longest + 1))]
                batch.append(tokenize_report(tokenizer, sentences, MAX_TOKENS))
            masked = mask_reports(tokenizer, batch, generator)
            if step in asked:
                yield masked

    return batches


def train(
    reports: Sequence[Sequence[str]],
    tokenizer: Any,
    *,
    steps: int = STEPS,
    seed: int = 0,
    folder: RunFolder | None = None,
    stop_after: int | None = None,
    log: RunLog | None = None,
) -> nn.Module:
    """Train the small BERT. The same arguments give the same weights on the same machine.

    Args:
        reports: sentences of each.
        tokenizer: from `build_tokenizer`.
        steps: of the whole run.
        seed: of first weights, texts and hidden words.
        folder: of the run; None: nothing is written.
        stop_after: stop (and save) after this many steps, as if interrupted.
        log: who is told.
    """
    model = untrained(len(tokenizer), seed)
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    warmup = steps // 10 + 1

    def rate(progress: Progress) -> float:
        step = progress.step
        return LEARNING_RATE * min((step + 1) / warmup, (steps - step) / max(1, steps - warmup))

    fit(
        HiddenWords(model),
        masked_words_step,
        excerpts(reports, tokenizer, steps=steps, seed=seed),
        torch.optim.AdamW(learnt, weight_decay=0.01),
        steps=steps,
        seed=seed,
        learning_rate=rate,
        max_grad_norm=1.0,
        folder=folder,
        stop_after=stop_after,
        log=log,
    )
    return model.eval()


def save(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write the encoder without its prediction head, in half precision."""
    bert: Any = model
    encoder = copy.deepcopy(bert.bert).half()
    with quiet_transformers():
        encoder.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def held_out_loss(model: nn.Module, tokenizer: Any, reports: Sequence[Sequence[str]]) -> float:
    """MLM loss on held-out reports."""
    generator = torch.Generator().manual_seed(0)
    tokens = [tokenize_report(tokenizer, report, MAX_TOKENS) for report in reports]
    device = next(model.parameters()).device
    losses = []
    for start in range(0, len(tokens), 50):
        batch = mask_reports(tokenizer, tokens[start : start + 50], generator).to(device)
        losses.append(masked_words_step(HiddenWords(model), batch)["mlm"].item())
    return float(np.mean(losses))


def unigram_loss(
    tokenizer: Any, train_reports: Sequence[Sequence[str]], reports: Sequence[Sequence[str]]
) -> float:
    """Loss of the unigram model, which predicts each token by its frequency: the MLM baseline."""
    counts: Counter[int] = Counter()
    for report in train_reports:
        counts.update(tokenizer(" ".join(report), add_special_tokens=False)["input_ids"])
    total = sum(counts.values()) + len(tokenizer)
    held_out = [
        token
        for report in reports
        for token in tokenizer(" ".join(report), add_special_tokens=False)["input_ids"]
    ]
    return -sum(math.log((counts[token] + 1) / total) for token in held_out) / len(held_out)


def identity_shares(encoder: TextEncoder, reports: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Shares of sentence pairs of two patients that SSM takes as the same, and as different.

    The same is an identity cosine of at least 0.9, different one of at most 0.6.
    """
    patient = torch.tensor([b for b, report in enumerate(reports) for _ in report])
    identity = F.normalize(encoder.identity([s for report in reports for s in report]), dim=-1)
    cosine = (identity @ identity.T)[patient[:, None] < patient[None, :]]
    return float((cosine >= 0.9).float().mean()), float((cosine <= 0.6).float().mean())


def main() -> None:
    """Train, measure, write the folder and its README."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    reports = phantom_sentences(TRAIN_SEED, TRAIN_REPORTS)
    held_out = phantom_sentences(HELD_OUT_SEED, HELD_OUT_REPORTS)
    tokenizer = build_tokenizer(vocabulary(reports, VOCABULARY), MAX_TOKENS)
    start = time.perf_counter()
    model = train(reports, tokenizer, steps=arguments.steps, seed=arguments.seed)
    seconds, threads = time.perf_counter() - start, torch.get_num_threads()
    loss = held_out_loss(model, tokenizer, held_out)
    unigram = unigram_loss(tokenizer, reports, held_out)
    save(model, tokenizer, arguments.output)
    same, different = identity_shares(load_text_encoder(arguments.output), held_out[:100])
    card = CARD.format(**globals(), **locals(), command="python -m mg3d.training.embedded_text")
    (arguments.output / "README.md").write_text(card)
    print(card)


CARD = """\
# The embedded text encoder

Made by `{command} --output DIR`: a BERT of {LAYERS} layers, width {WIDTH}, {HEADS} heads, at most
{MAX_TOKENS} tokens, and a lower-case WordPiece tokenizer. It learned from phantom reports only and
knows nothing of real ones beyond their words' letters: a stand-in for the laptop, no RadBERT.

| | |
|---|---|
| trained on excerpts (two sentences to all) of | {TRAIN_REPORTS} reports, seed {TRAIN_SEED} |
| steps of {BATCH_TOKENS} tokens | {arguments.steps} |
| seconds, {threads} thread(s) | {seconds:.0f} |
| measured on | {HELD_OUT_REPORTS} reports, seed {HELD_OUT_SEED} |
| masked language modelling, nats per token | {loss:.2f} |
| the same, unigram model | {unigram:.2f} |
| sentence pairs of two patients with identity cosine >= 0.9 | {same:.1%} |
| sentence pairs of two patients with identity cosine <= 0.6 | {different:.1%} |

Weights are stored in half precision and read in single precision. A sentence's identity knows its
words, not its meaning: two long sentences that differ in "left" and "right", or short denials of
two findings, can come out as the same.
"""

if __name__ == "__main__":
    main()
