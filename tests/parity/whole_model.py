"""Case h's model and batch, made from names: released weights in our model, and what it is shown.

The rules of the batch are those of parity/README.md, the sizes those of the case's JSON.
"""

from dataclasses import dataclass, replace

import fill
import torch
from cases_of import Case
from torch import nn

from mg3d.config import PRESETS, RELEASED_QUIRKS, change
from mg3d.data.batch import Batch
from mg3d.data.masking import blocks_to_voxels
from mg3d.pretrained.released_model import ReleasedMG3D
from mg3d.pretrained.released_names import sort_official
from mg3d.text.encoder import TextEncoder
from mg3d.training.step import Pretraining, build_pretraining

PAD, CLS, SEP, MASK = 0, 2, 3, 4
HEAD_WIDTH, BLOCK, STRIDE = 64, 16, 32  # the released model's, stated in parity/README.md


@dataclass(frozen=True)
class Sizes:
    """What the JSON says about a case h."""

    patients: int
    tokens: int
    vocabulary: int
    sentences: list[int]  # of each patient
    volume: tuple[int, int, int]

    @classmethod
    def of(cls, case: Case) -> "Sizes":
        settings = case.description["settings"]
        volume = case.description["outputs"]["recon"]["shape"][2:]
        return cls(settings["B"], settings["L"], settings["V"], settings["S"], tuple(volume))


class GivenMaps(nn.Module):
    """In the encoder's place: the case's own last maps, of the whole volume and of the masked."""

    def __init__(self, whole, whole_map, masked_map):
        super().__init__()
        self.whole, self.maps = whole, (whole_map, masked_map)

    def forward(self, volume):
        return (self.maps[0] if torch.equal(volume, self.whole) else self.maps[1],)


def build(case: Case) -> Pretraining:
    """Our model in its released behaviour, with the case's weights in every parameter."""
    sizes = Sizes.of(case)
    official = {name: case.parameter(name) for name in used(case)}
    found = sort_official(official)
    config = change(
        PRESETS["paper"],
        volume_shape=sizes.volume,
        quirks=replace(RELEASED_QUIRKS, padded_to=sizes.tokens),
        dim=len(official["multi_modal_vision_proj.bias"]),
        activation_checkpointing=True,  # less memory, same numbers
    )
    text = text_encoder(found.text_encoder, sizes)
    pretraining = build_pretraining(config, text, kind=ReleasedMG3D)
    if not any(name.startswith("vision_encoder.") for name in official):
        pretraining.model.encoder = nn.Identity()
    assert set(found.pretraining) == {name for name, _ in pretraining.named_parameters()}
    pretraining.load_state_dict(found.pretraining, strict=False)  # leaves index tables alone
    return pretraining.eval()


def used(case: Case) -> list[str]:
    """Official names of the case that have a place in our model or its text encoder."""
    found = sort_official({name: name for name in case.description["params"]})
    assert not found.unknown, f"{case.name}: no table knows {found.unknown}"
    return [*found.pretraining.values(), *found.text_encoder.values()]


def text_encoder(weights: dict[str, torch.Tensor], sizes: Sizes) -> TextEncoder:
    """A BERT with these weights, whose words are written t5, t6, ... for their ids."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    special = {"[PAD]": PAD, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": MASK}
    taken = set(special.values())
    words = {f"t{i}": i for i in range(sizes.vocabulary) if i not in taken}
    tokenizer = Tokenizer(models.WordLevel(special | words, unk_token="t1"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))

    embeddings = {
        kind: weights[f"embeddings.{kind}_embeddings.weight"].shape
        for kind in ("word", "position", "token_type")
    }
    width = embeddings["word"][1]
    layers = {name.split(".")[2] for name in weights if name.startswith("encoder.layer.")}
    model = BertModel(
        BertConfig(
            vocab_size=embeddings["word"][0],
            max_position_embeddings=embeddings["position"][0],
            type_vocab_size=embeddings["token_type"][0],
            hidden_size=width,
            num_hidden_layers=len(layers),
            num_attention_heads=width // HEAD_WIDTH,
            intermediate_size=len(weights["encoder.layer.0.intermediate.dense.bias"]),
            layer_norm_eps=1e-12,
        ),
        add_pooling_layer=False,
    )
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert not unexpected and set(missing) <= {"embeddings.position_ids"}
    names = dict(pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    return TextEncoder(
        model, PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names), "released"
    )


def batch_of(case: Case) -> Batch:
    """The case's patients, with what is hidden from the model."""
    sizes = Sizes.of(case)
    tokens, sentence, padding = reports(case, sizes)
    texts = tuple(
        tuple(" ".join(f"t{i}" for i in tokens[b, sentence[b] == k]) for k in range(count))
        for b, count in enumerate(sizes.sentences)
    )
    drawn = torch.from_numpy(fill.u01(f"{case.name}/input/mlm", tokens.numel()))
    word_mask = (drawn.view_as(tokens) < 0.15) & (sentence >= 0)
    counts = torch.tensor(sizes.sentences)
    depth, height, width = sizes.volume
    image = fill.tensor(case.name, "image", (sizes.patients, depth, 1, height, width), 0.5, 0.5)
    return Batch(
        patient_id=tuple(str(b) for b in range(sizes.patients)),
        volume=torch.from_numpy(image).transpose(1, 2),
        tokens=tokens,
        padding=padding,
        sentence=sentence,
        word=torch.full_like(tokens, -1),  # nobody asks
        sentences=texts,
        sentence_padding=torch.arange(int(counts.max())) >= counts[:, None],
        voxel_mask=voxel_mask(case, sizes),
        word_mask=word_mask,
        hidden_tokens=tokens.masked_fill(word_mask, MASK),
    )


def reports(case: Case, sizes: Sizes) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Ids, the sentence of each (-1: none), and what is padding."""
    ids = fill.integers(case.name, "ids", (sizes.patients, sizes.tokens), 5, sizes.vocabulary)
    tokens = torch.from_numpy(ids)
    sentence = torch.full_like(tokens, -1)
    for b, count in enumerate(sizes.sentences):
        used = sizes.tokens - 2 - 3 * b
        cuts = [1 + round(i * (used - 1) / count) for i in range(count + 1)]
        tokens[b, 0], tokens[b, cuts[-1]], tokens[b, cuts[-1] + 1 :] = CLS, SEP, PAD
        for k in range(count):
            sentence[b, cuts[k] : cuts[k + 1]] = k
    return tokens, sentence, tokens == PAD


def voxel_mask(case: Case, sizes: Sizes) -> torch.Tensor:
    """The released code's one mask for all patients: half of the blocks are kept."""
    grid = [size // BLOCK for size in sizes.volume]
    hidden = torch.ones(grid[0] * grid[1] * grid[2], dtype=torch.bool)
    hidden[fill.choice(case.name, "mim_kept_blocks", len(hidden), len(hidden) // 2)] = False
    mask = blocks_to_voxels(hidden.view(1, *grid), BLOCK)
    return mask.expand(sizes.patients, -1, -1, -1, -1)
