"""Cases a, b, c: gates, gated attention, poolers, by official names.

Each adapter gives every output it can make of a case, under its official name. Case a's module
(sigmoid attention over the other side's values, not normalised) is built in the released model and
never called; what it shares with the rest, its two maps, is ours, and the products with the values
are written out. The same holds for what case c has of poolers that no loss reads.
"""

import re

import fill
import pytest
import torch
import torch.nn.functional as F
from cases_of import Case, cases
from torch import Tensor

from mg3d.attention.fusion import Fusion, FusionLayer
from mg3d.attention.gated import GateMap
from mg3d.attention.informed import InformedLayer
from mg3d.attention.pooling import (
    SentenceAttentionPool,
    TokenWeightingPooler,
    masked_mean,
    mean_by_index,
)
from mg3d.objectives.ssm import SSM


def load(module, parameters, renaming):
    """Give `module` official weights; `renaming` maps our linear layers to official ones."""
    module.load_state_dict(
        {
            f"{ours}.{kind}": parameters[f"{official}.{kind}"]
            for ours, official in renaming.items()
            for kind in ("weight", "bias")
        }
    )
    return module


def linear(tokens, parameters, layer):
    return tokens @ parameters[f"{layer}.weight"].T + parameters[f"{layer}.bias"]


def gated_names(own, other, side):
    return {
        f"{side}.gates.query": f"query{own}",
        f"{side}.gates.key": f"key{other}",
        f"{side}.value": f"value{own}",
    }


def gated_layer(case, prefix=""):
    """Official modality 1 is our "volume" side, 2 our "text" side; the layer is symmetric."""
    parameters = case.parameters(prefix)
    layer = FusionLayer(parameters["query1.weight"].shape[0])
    return load(layer, parameters, gated_names(1, 2, "volume") | gated_names(2, 1, "text"))


def sigmoid_attention(case: Case) -> dict[str, Tensor]:
    """Case a."""
    parameters = case.parameters()
    inputs = {i: case.input(f"x{i}")[None].requires_grad_() for i in (1, 2)}
    dim = inputs[1].shape[-1]
    by_first = load(GateMap(dim), parameters, {"query": "query1", "key": "key2"})
    by_second = load(GateMap(dim), parameters, {"query": "query2", "key": "key1"})
    maps = {1: by_second(inputs[2], inputs[1])[0], 2: by_first(inputs[1], inputs[2])[0]}
    ours = {}
    for i, gates in maps.items():
        value = linear(inputs[i][0], parameters, f"value{i}")
        seen = gates.masked_fill(hidden_scores(case, i, gates.shape), 0.0)
        ours |= {f"probs{i}": gates, f"ctx{i}": gates @ value}
        ours |= {f"masked/probs{i}": seen, f"masked/ctx{i}": seen @ value}
    (ours["ctx1"].square().sum() + ours["ctx2"].square().sum()).backward()
    return ours | {f"grad_sumsq/x{i}": x.grad[0] for i, x in inputs.items()}


def hidden_scores(case, i, shape):
    """Where the case puts its additive mask of -10000, which closes a gate."""
    rule = re.search(r"choice\('(\w+)', (\d+), (\d+)\)", case.description["settings"][f"mask{i}"])
    hidden = torch.zeros(int(rule[2]), dtype=torch.bool)
    hidden[fill.choice(case.name, rule[1], int(rule[2]), int(rule[3]))] = True
    return hidden.view(shape)


def gated_attention(case: Case) -> dict[str, Tensor]:
    """Case b, one layer."""
    layer = gated_layer(case)
    first = case.input("x1")[None].requires_grad_()
    second = case.input("x2")[None].requires_grad_()
    out_first, out_second = layer(first, second)
    (out_first.square().sum() + out_second.square().sum()).backward()
    return {
        "ctx2": out_first[0],
        "ctx1": out_second[0],
        "probs2": layer.volume.gates(first, second)[0],
        "probs1": layer.text.gates(second, first)[0],
        "grad_sumsq/x1": first.grad[0],
        "grad_sumsq/x2": second.grad[0],
    }


def gated_stack(case: Case) -> dict[str, Tensor]:
    """Case b, several layers: reports of different length, padded here."""
    image = case.input("img")
    num_layers = len({name.partition(".")[0] for name in case.description["params"]})
    fusion = Fusion(image.shape[-1], num_layers)
    fusion.layers = torch.nn.ModuleList(gated_layer(case, f"{i}.") for i in range(num_layers))
    reports = [case.input(f"sen{b}")[0] for b in range(len(image))]
    sentences = torch.nn.utils.rnn.pad_sequence(reports, batch_first=True, padding_value=9.0)
    lengths = torch.tensor([len(report) for report in reports])
    padding = torch.arange(sentences.shape[1]) >= lengths[:, None]
    volume, text = fusion(image, sentences, text_padding=padding)
    return {"img": volume} | {f"sen{b}": text[b : b + 1, :n] for b, n in enumerate(lengths)}


def one_sided_gate(case: Case) -> dict[str, Tensor]:
    keys, queries = case.input("uni_x1"), case.input("uni_x2")
    layer = load(
        InformedLayer(keys.shape[-1]),
        case.parameters("unidir."),
        {"gates.query": "query2", "gates.key": "key1", "value": "value1"},
    )
    probs = layer.gates(queries[None], keys[None])[0]
    # As used in the model: one volume vector, one sentence.
    informed = layer(queries[:1], keys[None, :1], torch.zeros(1, 1).bool())
    return {
        "unidir/probs": probs,
        "unidir/ctx": probs @ layer.value(keys),
        "unidir_1x1/ctx": informed[0],
        "unidir_1x1/probs": probs[:1, :1],
    }


def attention_pools(case: Case) -> dict[str, Tensor]:
    renaming = {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "c_proj"}
    sentences = case.input("pool_x")
    dim = sentences.shape[-1]
    plain = load(SentenceAttentionPool(dim), case.parameters("attpool."), renaming)

    with_mean = torch.cat([sentences.mean(1, keepdim=True), sentences], dim=1)
    positions = case.parameter("attpool_pos.positional_embedding")[: with_mean.shape[1]]
    placed = load(SentenceAttentionPool(dim), case.parameters("attpool_pos."), renaming)
    nothing_padded = torch.zeros(with_mean.shape[:2]).bool()
    return {
        "attpool": plain(sentences),
        "attpool_pos": placed.read_first(with_mean + positions, nothing_padded),
    }


def gathers(case: Case) -> dict[str, Tensor]:
    index = torch.tensor(case.description["settings"]["sentence_index"])
    means, padding = mean_by_index(case.input("gather_x"), index - 1, int(index.max()))
    # The released gather leaves sentences without words out.
    return {f"gather/{b}": means[b][~padding[b]][None] for b in range(len(index))}


def token_poolers(case: Case) -> dict[str, Tensor]:
    ours = {}
    for name in ("swin_pooler", "swin_pooler96"):
        parameters = case.parameters(f"{name}.")
        num_tokens, dim = parameters["fc.weight"].shape[1], len(parameters["dense.bias"])
        pooler = load(
            TokenWeightingPooler(num_tokens, dim),
            parameters,
            {"weighting": "fc", "output": "dense"},
        )
        ours[name] = pooler(case.input("tok_x")[:, :num_tokens])

    num_rows = case.description["outputs"]["sentence_pooler"]["shape"][1]
    rows = case.input("tok_x")[:1, :num_rows]
    mean = masked_mean(rows, torch.zeros(1, num_rows).bool())
    ours["swin_att_pooler"] = linear(mean, case.parameters("swin_att_pooler."), "dense").tanh()
    first = case.input("tok_x")[:, 0]  # read by no loss
    return ours | {"pooler": linear(first, case.parameters("pooler."), "dense").tanh()}


def sentence_poolers(case: Case) -> dict[str, Tensor]:
    parameters = case.parameters("sentence_pooler.")
    num_rows = case.description["outputs"]["sentence_pooler"]["shape"][1]
    rows = case.input("tok_x")[:, :num_rows]
    width, hidden = len(parameters["dense.3.bias"]), len(parameters["dense.0.bias"])
    ssm = load(
        SSM(rows.shape[-1], hidden=hidden, width=width),
        parameters,
        {"head.expand": "dense.0", "head.output": "dense.3"},
    )
    # Two reports at once, which the released model never gives it: standardised over both.
    features = linear(rows, parameters, "dense.0").transpose(0, 1)
    features = F.layer_norm(features, features.shape[1:]).transpose(0, 1)
    return {
        "sentence_pooler": ssm.eval().visual(rows[0])[None],
        "sentence_pooler_trainmode": ssm.train().visual(rows[0])[None],
        "sentence_pooler_b2": linear(F.gelu(features), parameters, "dense.3").tanh(),
    }


POOLING = {
    "unidir": one_sided_gate,
    "attpool": attention_pools,
    "gather": gathers,
    "swin": token_poolers,
    "pooler": token_poolers,
    "sentence": sentence_poolers,
}


@pytest.mark.parametrize("name", cases("a"))
def test_gate_maps_equal_the_released_sigmoid_attention(name):
    case = Case(name)
    case.check_all(sigmoid_attention(case))


@pytest.mark.parametrize("name", cases("b", stack=False))
def test_gated_attention_equals_the_released_loops(name):
    case = Case(name)
    case.check_all(gated_attention(case))


@pytest.mark.parametrize("name", cases("b", stack=True))
def test_layers_equal_the_released_stack_with_padded_reports(name):
    case = Case(name)
    case.check_all(gated_stack(case))


@pytest.mark.parametrize("name", cases("c"))
def test_poolers_and_gathers_equal_the_released_ones(name):
    case = Case(name)
    case.check_all(poolers(case))


def poolers(case: Case) -> dict[str, Tensor]:
    """Case c: those poolers that it has outputs of."""
    kinds = {
        kind for kind in POOLING for key in case.description["outputs"] if key.startswith(kind)
    }
    ours = {}
    for adapter in {POOLING[kind] for kind in kinds}:
        ours |= adapter(case)
    return ours
