"""Made-up features: every objective's input without a model, some padded, some empty."""

from dataclasses import replace

import torch

from mg3d.data.batch import Batch
from mg3d.model import Features

DIM, TEXT_DIM, VOCABULARY, GRID = 16, 12, 30, (2, 1, 2)
SIZE = tuple(8 * n for n in GRID)  # voxels: 8 per token


def leaf(*shape):
    return torch.randn(shape).requires_grad_()


def patients_with(sentences=(3, 1, 2), words_per_sentence=4, seed=0):
    """Features and Batch of patients with so many sentences each, half of the blocks and every
    fourth word hidden."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        B, K = len(sentences), max(sentences)
        T = 2 + K * words_per_sentence
        counts = torch.tensor(sentences)
        place = (torch.arange(T) - 1).expand(B, T)  # place 0 is [CLS], then words, then [SEP]
        is_word = (place >= 0) & (place < counts[:, None] * words_per_sentence)
        sentence = torch.where(is_word, place // words_per_sentence, -1)
        tokens = torch.randint(5, VOCABULARY, (B, T))
        word_mask = is_word & (place % 4 == 1)
        voxel_mask = torch.rand(B, 1, *SIZE) < 0.5
        batch = Batch(
            patient_id=tuple(f"patient {b}" for b in range(B)),
            volume=torch.rand(B, 1, *SIZE),
            tokens=tokens,
            padding=place > counts[:, None] * words_per_sentence,
            sentence=sentence,
            word=torch.where(is_word, place, -1),
            sentences=tuple(tuple(f"sentence {i}" for i in range(n)) for n in sentences),
            sentence_padding=torch.arange(K) >= counts[:, None],
            voxel_mask=voxel_mask,
            word_mask=word_mask,
            hidden_tokens=tokens.masked_fill(word_mask, 4),
        )
        N = GRID[0] * GRID[1] * GRID[2]
        features = Features(
            token_grid=GRID,
            visual_tokens=leaf(B, N, DIM),
            sentence_tokens=leaf(B, K, DIM),
            volume_vector=leaf(B, DIM),
            report_vector=leaf(B, DIM),
            fused_volume_vector=leaf(B, DIM),
            fused_report_vector=leaf(B, DIM),
            informed_sentences=leaf(B, K, DIM),
            aggregate=leaf(B, DIM),
            embedded_sentences=torch.randn(B, K, TEXT_DIM),
            identity=torch.randn(B, K, TEXT_DIM),
            filled_visual_tokens=leaf(B, N, DIM),
            repaired_words=leaf(B, T, DIM),
        )
    return features, batch


def reorder(features, batch, order):
    """The same patients in another order."""
    rows = {k: v[order] for k, v in vars(features).items() if isinstance(v, torch.Tensor)}
    parts = {k: v[order] for k, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    parts["patient_id"] = tuple(batch.patient_id[b] for b in order)
    parts["sentences"] = tuple(batch.sentences[b] for b in order)
    return replace(features, **rows), replace(batch, **parts)
