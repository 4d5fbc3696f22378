"""Cases a, b, c: gates, gated attention, poolers, by official names.

Case a's module (sigmoid attention over the other side's values, not normalised) is built in the
released model and never called; what it shares with the rest, its two maps, is compared here, and
the products with the values are written out.
"""

import fill
import numpy as np
import pytest
import torch
from cases_of import Case, names

from mg3d.attention.fusion import Fusion, FusionLayer
from mg3d.attention.gated import GateMap
from mg3d.attention.informed import InformedLayer
from mg3d.attention.pooling import (
    SentenceAttentionPool,
    TokenWeightingPooler,
    masked_mean,
    mean_by_index,
)


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


@pytest.mark.parametrize("name", [n for n in names("b_gated") if "stack" not in n])
def test_gated_attention_equals_the_released_loops(name):
    case = Case(name)
    layer = gated_layer(case)
    first = case.input("x1")[None].requires_grad_()
    second = case.input("x2")[None].requires_grad_()
    out_first, out_second = layer(first, second)
    case.check("ctx2", out_first[0])
    case.check("ctx1", out_second[0])
    case.check("probs2", layer.volume.gates(first, second)[0])
    case.check("probs1", layer.text.gates(second, first)[0])

    (out_first.square().sum() + out_second.square().sum()).backward()
    case.check("grad_sumsq/x1", first.grad[0])
    case.check("grad_sumsq/x2", second.grad[0])


@pytest.mark.parametrize("name", [n for n in names("b_gated") if "stack" in n])
def test_two_layers_equal_the_released_stack_with_padded_reports(name):
    case = Case(name)
    fusion = Fusion(case.input("img").shape[-1], num_layers=2)
    fusion.layers = torch.nn.ModuleList(gated_layer(case, f"{i}.") for i in range(2))
    reports = [case.input(f"sen{b}")[0] for b in range(len(case.input("img")))]
    sentences = torch.nn.utils.rnn.pad_sequence(reports, batch_first=True, padding_value=9.0)
    lengths = torch.tensor([len(report) for report in reports])
    padding = torch.arange(sentences.shape[1]) >= lengths[:, None]
    volume, text = fusion(case.input("img"), sentences, text_padding=padding)
    case.check("img", volume)
    for b, length in enumerate(lengths):
        case.check(f"sen{b}", text[b : b + 1, :length])


@pytest.mark.parametrize("name", names("a_local"))
def test_gate_maps_equal_the_released_sigmoid_attention(name):
    case = Case(name)
    parameters = case.parameters()
    first = case.input("x1")[None].requires_grad_()
    second = case.input("x2")[None].requires_grad_()
    dim = first.shape[-1]
    by_first = load(GateMap(dim), parameters, {"query": "query1", "key": "key2"})
    by_second = load(GateMap(dim), parameters, {"query": "query2", "key": "key1"})
    values = {
        i: x @ parameters[f"value{i}.weight"].T + parameters[f"value{i}.bias"]
        for i, x in ((1, first), (2, second))
    }
    maps = {"probs2": by_first(first, second), "probs1": by_second(second, first)}
    context = {"ctx2": maps["probs2"] @ values[2], "ctx1": maps["probs1"] @ values[1]}
    for key, tensor in (maps | context).items():
        case.check(key, tensor[0])

    for key, value in (("1", values[1]), ("2", values[2])):
        probs = maps[f"probs{key}"][0]
        hidden = np.zeros(probs.numel(), dtype=bool)
        hidden[fill.choice(name, f"mask{key}", probs.numel(), 8)] = True
        open_only = probs.masked_fill(torch.from_numpy(hidden).view_as(probs), 0.0)
        case.check(f"masked/probs{key}", open_only)
        case.check(f"masked/ctx{key}", open_only @ value[0])

    sum(c.square().sum() for c in context.values()).backward()
    case.check("grad_sumsq/x1", first.grad[0])
    case.check("grad_sumsq/x2", second.grad[0])


@pytest.fixture(params=names("c_poolers"))
def poolers(request):
    return Case(request.param)


def test_one_sided_gate_equals_the_released_one(poolers):
    keys, queries = poolers.input("uni_x1"), poolers.input("uni_x2")
    layer = load(
        InformedLayer(keys.shape[-1]),
        poolers.parameters("unidir."),
        {"gates.query": "query2", "gates.key": "key1", "value": "value1"},
    )
    probs = layer.gates(queries[None], keys[None])[0]
    poolers.check("unidir/probs", probs)
    poolers.check("unidir/ctx", probs @ layer.value(keys))
    # As used in the model: one volume vector, one sentence.
    informed = layer(queries[:1], keys[None, :1], torch.zeros(1, 1).bool())
    poolers.check("unidir_1x1/ctx", informed[0])
    poolers.check("unidir_1x1/probs", probs[:1, :1])


def attention_pool(case, prefix):
    parameters = case.parameters(prefix)
    return load(
        SentenceAttentionPool(parameters["q_proj.weight"].shape[0]),
        parameters,
        {"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "c_proj"},
    )


def test_sentence_pool_equals_the_released_attention_pool(poolers):
    sentences = poolers.input("pool_x")
    poolers.check("attpool", attention_pool(poolers, "attpool.")(sentences))

    with_mean = torch.cat([sentences.mean(1, keepdim=True), sentences], dim=1)
    positions = poolers.parameter("attpool_pos.positional_embedding")[: with_mean.shape[1]]
    pool = attention_pool(poolers, "attpool_pos.")
    nothing_padded = torch.zeros(with_mean.shape[:2]).bool()
    poolers.check("attpool_pos", pool.read_first(with_mean + positions, nothing_padded))


def test_mean_by_index_equals_the_released_gather(poolers):
    index = torch.tensor(poolers.description["settings"]["sentence_index"])
    means, padding = mean_by_index(poolers.input("gather_x"), index - 1, int(index.max()))
    for b in range(len(index)):  # the released gather leaves sentences without words out
        poolers.check(f"gather/{b}", means[b][~padding[b]][None])


@pytest.mark.parametrize("name", ["swin_pooler", "swin_pooler96"])
def test_token_weighting_equals_the_released_pooler(poolers, name):
    parameters = poolers.parameters(f"{name}.")
    num_tokens, dim = parameters["fc.weight"].shape[1], parameters["dense.weight"].shape[0]
    pooler = load(
        TokenWeightingPooler(num_tokens, dim), parameters, {"weighting": "fc", "output": "dense"}
    )
    poolers.check(name, pooler(poolers.input("tok_x")[:, :num_tokens]))


def test_the_aggregate_s_pooler_equals_the_released_mean_pooler(poolers):
    rows = poolers.input("tok_x")[:1, :6]
    dense = poolers.parameters("swin_att_pooler.dense.")
    mean = masked_mean(rows, torch.zeros(1, 6).bool())
    poolers.check("swin_att_pooler", (mean @ dense["weight"].T + dense["bias"]).tanh())
