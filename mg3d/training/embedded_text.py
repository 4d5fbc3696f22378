"""Make the embedded text encoder: a small BERT that learned its words from phantom reports.

A random text encoder leaves MLM at the unigram model and makes SSM trivial. This one is trained by
masked language modelling on reports of patients that no phantom data set uses, then shipped in
half precision in `mg3d/text/embedded/`. The command makes it again:

    python -m mg3d.training.embedded_text --output DIR

Source: BERT (arXiv 1810.04805), masked language modelling, with whole words masked.
"""

import argparse
import math
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mg3d.phantom.patient import draw_patient
from mg3d.phantom.report import write_report
from mg3d.text.encoder import TextEncoder, load_text_encoder
from mg3d.text.report import report_sentences
from mg3d.text.tokens import TokenizedReport, tokenize_report

TRAIN_SEED, HELD_OUT_SEED = 20_000, 20_001  # of phantom data sets used for nothing else
TRAIN_REPORTS, HELD_OUT_REPORTS = 8_000, 300
STEPS, BATCH_SIZE, LEARNING_RATE = 1_500, 16, 2e-3
VOCABULARY, MAX_TOKENS = 1_000, 256
WIDTH, LAYERS, HEADS = 128, 4, 4
MASKED_SHARE = 0.15
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def phantom_sentences(seed: int, num_reports: int) -> list[list[str]]:
    """The sentences of the reports of the first patients of a phantom data set."""
    reports = [write_report(draw_patient(seed, patient)) for patient in range(num_reports)]
    return [report_sentences(report.findings, report.impression) for report in reports]


def vocabulary(reports: Sequence[Sequence[str]], size: int = VOCABULARY) -> list[str]:
    """Special tokens, every ASCII sign at any place of a word, the reports' words, parts of them.

    Parts (first and last letters that several words share) keep unknown words of real reports from
    falling to single letters. Sorted by use, then by letters: a learner such as WordPieceTrainer
    breaks ties at random and gives another vocabulary each time.
    """
    signs = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    words = Counter(w for report in reports for s in report for w in re.findall(r"\w+", s))
    parts: Counter[str] = Counter()
    for word in words:
        parts.update(word[:cut] for cut in range(3, len(word)))
        parts.update("##" + word[cut:] for cut in range(1, len(word) - 1))
    ranked = [
        piece
        for counts in (words, parts)
        for piece, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    inside = ["##" + sign for sign in signs if sign.isalnum()]
    return list(dict.fromkeys([*SPECIAL, *signs, *inside, *ranked]))[:size]


def build_tokenizer(pieces: Sequence[str]) -> Any:
    """A lower-case WordPiece tokenizer with this vocabulary."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    places = {piece: place for place, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=places, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[(s, places[s]) for s in ("[CLS]", "[SEP]")]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=MAX_TOKENS,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


def hide_words(
    report: TokenizedReport, tokenizer: Any, generator: torch.Generator
) -> tuple[Int[Tensor, " T"], Bool[Tensor, " T"]]:
    """Hide 15 % of the whole words: 80 % [MASK], 10 % a random token, 10 % left as they are.

    Returns the tokens to read and which of them are to be predicted.
    """
    num_words = int(report.word.max()) + 1
    order = torch.randperm(num_words, generator=generator)
    chosen = order[: max(1, round(MASKED_SHARE * num_words))]
    hidden = torch.isin(report.word, chosen)
    dice = torch.rand(len(report.tokens), generator=generator)
    noise = torch.randint(len(SPECIAL), len(tokenizer), report.tokens.shape, generator=generator)
    tokens = torch.where(hidden & (dice < 0.8), tokenizer.mask_token_id, report.tokens)
    return torch.where(hidden & (dice >= 0.9), noise, tokens), hidden


def masked_loss(
    model: nn.Module, tokenizer: Any, reports: Sequence[TokenizedReport], generator: torch.Generator
) -> Float[Tensor, ""]:
    """Cross-entropy at the hidden words of a batch of reports, in nats per token."""
    hidden_pairs = [hide_words(report, tokenizer, generator) for report in reports]
    pad = nn.utils.rnn.pad_sequence
    tokens = pad([t for t, _ in hidden_pairs], batch_first=True)  # [PAD] is token 0
    hidden = pad([h for _, h in hidden_pairs], batch_first=True)
    truth = pad([r.tokens for r in reports], batch_first=True)
    bert: Any = model
    states = bert.bert(input_ids=tokens, attention_mask=(tokens != 0).long()).last_hidden_state
    return F.cross_entropy(bert.cls(states[hidden]), truth[hidden])


def train(
    reports: Sequence[Sequence[str]], tokenizer: Any, *, steps: int = STEPS, seed: int = 0
) -> nn.Module:
    """Train the small BERT. The same arguments give the same weights on the same machine."""
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=MAX_TOKENS,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(config)
    generator = torch.Generator().manual_seed(seed)
    choice = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    warmup = min(100, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda s: min((s + 1) / warmup, (steps - s) / max(1, steps - warmup))
    )
    for step in range(steps):
        batch = [
            tokenize_report(tokenizer, excerpt(reports[i], choice), MAX_TOKENS)
            for i in choice.integers(len(reports), size=BATCH_SIZE)
        ]
        loss = masked_loss(model, tokenizer, batch, generator)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def excerpt(sentences: Sequence[str], choice: np.random.Generator) -> Sequence[str]:
    """The whole report, or (one time in two) a few sentences, so that short texts are known too."""
    if choice.random() < 0.5:
        return sentences
    start = int(choice.integers(len(sentences)))
    return sentences[start : start + int(choice.integers(1, 6))]


def save(model: nn.Module, tokenizer: Any, folder: Path) -> None:
    """Write the encoder without its prediction head, in half precision."""
    bert: Any = model
    bert.bert.half().save_pretrained(folder)
    bert.bert.float()
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def held_out_loss(model: nn.Module, tokenizer: Any, reports: Sequence[Sequence[str]]) -> float:
    """Loss at hidden words of reports never trained on."""
    generator = torch.Generator().manual_seed(0)
    tokens = [tokenize_report(tokenizer, report, MAX_TOKENS) for report in reports]
    batches = [tokens[i : i + 50] for i in range(0, len(tokens), 50)]
    return float(np.mean([masked_loss(model, tokenizer, b, generator).item() for b in batches]))


def unigram_loss(
    tokenizer: Any, train_reports: Sequence[Sequence[str]], reports: Sequence[Sequence[str]]
) -> float:
    """Loss of the model that knows only how frequent each token is: what MLM has to beat."""
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
    """Shares of sentence pairs of two patients that SSM calls the same (>= 0.9), different (<= 0.6)."""
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
    tokenizer = build_tokenizer(vocabulary(reports))
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
| trained on | {TRAIN_REPORTS} phantom reports, seed {TRAIN_SEED} (whole, or a few sentences of one) |
| steps of {BATCH_SIZE} reports | {arguments.steps} |
| seconds, {threads} thread(s) | {seconds:.0f} |
| measured on | {HELD_OUT_REPORTS} phantom reports, seed {HELD_OUT_SEED} |
| masked language modelling, nats per token | {loss:.2f} |
| the same, unigram model | {unigram:.2f} |
| sentence pairs of two patients with identity cosine >= 0.9 | {same:.1%} |
| sentence pairs of two patients with identity cosine <= 0.6 | {different:.1%} |

Weights are stored in half precision and read in single precision.
"""

if __name__ == "__main__":
    main()
