"""Random patients and a random text encoder of the published sizes.

Time and memory depend on sizes only, so the released text encoder is not needed: a BERT of its
size, with a vocabulary of 28,996, is written to disk and loaded like a real one.
"""

import re
import string
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mg3d.config import PretrainConfig
from mg3d.data.batch import Batch, Patient, collate
from mg3d.text.encoder import quiet_transformers
from mg3d.text.prompts import PROMPTS
from mg3d.text.tokens import tokenize_report

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
VOCABULARY = 28_996


def write_bert(folder: Path, *, width: int = 768, layers: int = 12, seed: int = 0) -> None:
    """A BERT with random weights and a tokenizer of made-up words, in Hugging Face format.

    Args:
        folder: gets config.json, model.safetensors and tokenizer.json.
        width: of the hidden states; one head for 64 of them.
        layers: transformer layers.
        seed: of the weights.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate([*SPECIAL, *made_up_words()])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{token.strip('[]').lower()}_token": token for token in SPECIAL}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    settings = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        BertModel(settings, add_pooling_layer=False).save_pretrained(folder)


def made_up_words() -> list[str]:
    """As many as the vocabulary has room for: words of real sentences, without which no text
    encoder is taken, then aaaa, aaab, aaac, ...
    """
    letters = np.array(list(string.ascii_lowercase))
    numbers = np.arange(VOCABULARY - len(SPECIAL))
    digits = [numbers // 26**place % 26 for place in (3, 2, 1, 0)]
    sentences = " ".join(s for sides in PROMPTS.values() for side in sides for s in side)
    real = re.findall(r"\w+|[^\w\s]", sentences)
    invented = ["".join(letters[list(word)]) for word in zip(*digits, strict=True)]
    return list(dict.fromkeys([*real, *invented]))[: len(invented)]


def make_batch(
    config: PretrainConfig, tokenizer: Any, patients: int, *, sentences: int = 20, seed: int = 0
) -> Batch:
    """Patients whose reports fill `max_tokens` with `sentences` sentences.

    Args:
        config: gives the volume's shape and the longest report.
        tokenizer: of the text encoder.
        patients: in the batch.
        sentences: in each report.
        seed: of all random numbers.
    """
    numbers = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    vocabulary = sorted(word for word in tokenizer.get_vocab() if word.isalpha())
    made = []
    for number in range(patients):
        words = numbers.choice(vocabulary, config.network.max_tokens - 2)
        parts = [" ".join(part) for part in np.array_split(words, sentences) if len(part)]
        report = tokenize_report(tokenizer, parts, config.network.max_tokens)
        volume = torch.rand(1, *config.grid.volume_shape, generator=generator)
        made.append(Patient(f"patient {number}", f"volume {number}", volume, report))
    return collate(int(tokenizer.pad_token_id))(made)
