"""Cases e, f, g: every objective, by official names.

Each adapter gives every output it can make of a case, under its official name; what the released
code computes and drops (case e's side output) is written out.
"""

import re

import fill
import pytest
import torch
import torch.nn.functional as F
from cases_of import Case, cases
from torch import Tensor

from mg3d.attention.pooling import mean_by_index
from mg3d.data.masking import blocks_to_voxels
from mg3d.objectives.contrastive import ContrastiveHead, compare_patients, symmetric_infonce
from mg3d.objectives.mim import MIM, hidden_error
from mg3d.objectives.mlm import MLM, cross_entropy_sum
from mg3d.objectives.sfr import SFR, SentenceGuesses, disagreement
from mg3d.objectives.ssm import compare_sentences, ssm_loss


def load(module, parameters, renaming):
    """Give `module` official weights; `renaming` maps our names to official ones."""
    module.load_state_dict({ours: parameters[official] for ours, official in renaming.items()})
    return module


def affine(**layers):
    """Weight and bias of linear layers, by name."""
    return {
        f"{ours.replace('__', '.')}.{kind}": f"{official}.{kind}"
        for ours, official in layers.items()
        for kind in ("weight", "bias")
    }


def image_modelling(case: Case) -> dict[str, Tensor]:
    """Case e."""
    return decoded(case) | side_output(case) | masked(case)


def decoded(case: Case) -> dict[str, Tensor]:
    tokens = case.input("feat").requires_grad_()
    parameters = case.parameters("conv.")
    layers = sorted({int(name.partition(".")[0]) for name in parameters})
    stages = {f"convolutions__{i}": f"{layer}" for i, layer in enumerate(layers[:-1])}
    stride = case.description["outputs"]["rec"]["shape"][-1] // tokens.shape[-1]
    decoder = load(
        MIM(dim=tokens.shape[1], token_stride=stride),
        parameters,
        affine(**stages, output=f"{layers[-1]}"),
    )
    voxels = decoder.decode(tokens)
    voxels.square().sum().backward()
    return {"rec": voxels, "grad_sumsq/feat": tokens.grad}


def side_output(case: Case) -> dict[str, Tensor]:
    """What no loss reads: each token position standardised over batch and features."""
    parameters = case.parameters("fc.")
    tokens = case.input("feat").flatten(2).permute(2, 0, 1)  # (positions, B, d)
    features = tokens @ parameters["0.weight"].T + parameters["0.bias"]
    features = F.gelu(F.layer_norm(features, features.shape[1:]))
    output = features @ parameters["3.weight"].T + parameters["3.bias"]
    return {"rec_feats": output.transpose(0, 1)}


def masked(case: Case) -> dict[str, Tensor]:
    settings = case.description["settings"]
    volume, guess = case.input("vol"), case.input("pred")
    grid = [size // settings["window"] for size in settings["volume"]]
    ours = {}
    for key in (key for key in settings if key.startswith("kept_blocks_")):
        text = key.removeprefix("kept_blocks_")
        kept, blocks = float(text), grid[0] * grid[1] * grid[2]
        hidden = torch.ones(blocks, dtype=torch.bool)
        hidden[settings[key]] = False
        mask = blocks_to_voxels(hidden.view(1, *grid), settings["window"])
        total, count = hidden_error(guess, volume, mask.expand_as(volume).float())
        ours |= {
            f"mask_{text}/mask": mask[0, 0].float(),
            f"mask_{text}/masked_volume": volume.masked_fill(mask, 0.0),
            # The released mean runs over all voxels and is divided by the share kept.
            f"mask_{text}/loss": total / count * (hidden.sum() / blocks) / kept,
        }
    return ours


def words(case: Case) -> dict[str, Tensor]:
    """Case f."""
    settings, parameters = case.description["settings"], case.parameters()
    width, vocabulary = settings["hidden"], settings["vocab"]
    read = case.input("multi_modal_text").requires_grad_()
    B, T = read.shape[:2]
    # The prediction transform belongs to the model (`MG3D.word_transform`).
    transform = torch.nn.Sequential(
        torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.LayerNorm(width, eps=1e-12)
    )
    transform = load(
        transform,
        parameters,
        affine(**{"0": "mlm_head.transform.dense", "2": "mlm_head.transform.LayerNorm"}),
    )
    mlm = load(
        MLM(dim=width, vocabulary_size=vocabulary),
        parameters,
        {"decoder.weight": "mlm_head.decoder.weight", "decoder.bias": "mlm_head.bias"},
    )
    hidden, common = (len(parameters[f"mlm_head.fc.{layer}.bias"]) for layer in (0, 3))
    sfr = load(
        SFR(dim=width, text_dim=width, hidden=hidden, width=common),
        parameters,
        affine(
            repaired__expand="mlm_head.fc.0",
            repaired__output="mlm_head.fc.3",
            target__0="uni_emd_sen.0",
            target__2="uni_emd_sen.2",
        ),
    )

    repaired = transform(read)
    ids = torch.from_numpy(fill.integers(case.name, "ids", (B, T), 5, vocabulary))
    hidden = torch.zeros(B * T, dtype=torch.bool)
    hidden[fill.choice(case.name, "label_positions", B * T, settings["k"])] = True
    hidden = hidden.view(B, T)
    guessed = cross_entropy_sum(mlm.decoder(repaired[hidden]), ids[hidden]) / hidden.sum()

    sentence = torch.tensor(settings["sentence_index"]).clamp(min=0) - 1
    K = int(sentence.max()) + 1
    means, padding = mean_by_index(repaired, sentence, K)
    targets, _ = mean_by_index(case.input("full_text_embeddings"), sentence, K)
    guesses = SentenceGuesses(sfr.repaired(means[~padding]), sfr.target(targets[~padding]))
    weighted = 0.1 * disagreement(guesses).sum() / B
    total = guessed + weighted
    total.backward()

    counts = (~padding).sum(1).tolist()
    of_each = zip(guesses.repaired.split(counts), guesses.target.split(counts), strict=True)
    ours = {}
    for b, (guess, target) in enumerate(of_each):
        ours |= {f"recon_sentence/{b}": guess[None], f"target_sentence/{b}": target[None]}
    return ours | {
        "logits": mlm.decoder(repaired),
        "mlm": guessed,
        "sfr_weighted": weighted,
        "total": total,
        "grad_total/multi_modal_text": read.grad,
        "grad_total/uni_emd_sen.2.weight": sfr.target[2].weight.grad,
    }


SIDES = {
    "cml": ("itc_cross_head", "mm_cls", "uni_cls"),
    "dfa": ("itc_agg_head", "mm_image_cls", "agg_image_cls"),
}


def contrast(case: Case) -> dict[str, Tensor]:
    """Case g."""
    settings = case.description["settings"]
    temperature, counts = settings["temperature"], settings["sentences"]
    ours, inputs, losses = {}, {}, {}
    for name, (prefix, fused, other) in SIDES.items():
        inputs |= {key: case.input(key).requires_grad_() for key in (fused, other)}
        left, right = heads(case, prefix, inputs[fused], inputs[other])
        ours[f"{name}_logits"] = compare_patients(left, right, temperature)
        losses[name] = symmetric_infonce(left, right, temperature)

    names = [f"ssm_image{i}" for i in range(len(counts))]
    visual = {name: case.input(name).requires_grad_() for name in names}
    identity = released_targets(case)
    patient = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    pairs = compare_sentences(
        torch.cat([v[0] for v in visual.values()]), torch.cat(identity), patient
    )
    across = pairs.patient[:, None] < pairs.patient
    kinds = [
        int((across & pairs.decided & (pairs.target > 0)).sum()),
        int((across & pairs.decided & (pairs.target == 0)).sum()),
        int((across & ~pairs.decided).sum()),
    ]
    assert kinds == settings["counts_ge0.9_le0.6_between"]
    losses["ssm"] = ssm_loss(pairs)

    total = sum(losses.values())
    total.backward()
    ours |= {f"ssm_target_input/{i}": target[None] for i, target in enumerate(identity)}
    ours |= {f"grad_total/{name}": tensor.grad for name, tensor in (inputs | visual).items()}
    alone = [
        symmetric_infonce(*heads(case, prefix, inputs[a][:1], inputs[b][:1]), temperature)
        for prefix, a, b in SIDES.values()
    ]
    return ours | losses | {"total": total, "batch1/total": sum(alone)}


def heads(case, prefix, fused, other):
    """The released pair of heads: "vision" acts on the fused side, "language" on the other."""
    names = {"norm.weight": "ln.weight", "norm.bias": "ln.bias", "projection.weight": "proj.weight"}

    def head(side):
        parameters = case.parameters(f"{prefix}.{side}_")
        dim_out, dim_in = parameters["proj.weight"].shape
        return load(ContrastiveHead(dim_in, dim_out), parameters, names)

    return head("vision")(fused), head("language")(other)


def released_targets(case):
    """Sentence identities as the case describes them: base vectors, more or less disturbed."""
    settings, base = case.description["settings"], case.input("ssm_base")
    amplitude = re.search(r"amp = \[([\d., ]+)\]", settings["ssm_targets"])[1].split(",")
    return [
        torch.stack([
            base[(i + k) % len(base)]
            + float(amplitude[(i + k) % len(amplitude)]) * case.input(f"ssm_noise{i}_{k}")
            for k in range(count)
        ])
        for i, count in enumerate(settings["sentences"])
    ]  # fmt: skip


@pytest.mark.parametrize("name", cases("e"))
def test_decoder_masking_and_loss_equal_the_released_ones(name):
    case = Case(name)
    case.check_all(image_modelling(case))


@pytest.mark.parametrize("name", cases("f"))
def test_mlm_and_sfr_equal_the_released_losses(name):
    case = Case(name)
    case.check_all(words(case))


@pytest.mark.parametrize("name", cases("g"))
def test_contrastive_losses_equal_the_released_ones(name):
    case = Case(name)
    case.check_all(contrast(case))
