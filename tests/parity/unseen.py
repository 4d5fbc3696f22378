"""Cases nobody has seen: other names, so other weights, and other sizes; expected by plain loops.

Written apart from the library: float64 numpy, one sum after the other, as the formulas of
parity/README.md read. `write_all(folder)` makes a folder that `MG3D_PARITY_DIR` can name.
"""

import json
from math import sqrt

import fill
import numpy as np


class Maker:
    """Collects a case's parameters, inputs, settings and outputs, and writes its two files."""

    def __init__(self, name):
        self.name, self.params, self.inputs, self.settings, self.outputs = name, {}, {}, {}, {}

    def param(self, name, *shape):
        self.params[name] = list(shape)
        return fill.param(self.name, name, shape).astype(np.float64)

    def input(self, name, *shape):
        self.inputs[name] = {"shape": list(shape), "scale": 1.0, "shift": 0.0}
        return fill.tensor(self.name, name, shape).astype(np.float64)

    def affine(self, name, dim_in, dim_out):
        weight, bias = (
            self.param(f"{name}.weight", dim_out, dim_in),
            self.param(f"{name}.bias", dim_out),
        )
        return lambda rows: np.array([[w @ row for w in weight] for row in rows]) + bias

    def attention(
        self, dim, prefix="", names=("query1", "key1", "value1", "query2", "key2", "value2")
    ):
        return {name: self.affine(f"{prefix}{name}", dim, dim) for name in names}

    def write(self, folder):
        arrays, about = {}, {}
        for name, value in self.outputs.items():
            value = np.asarray(value, dtype=np.float64)
            stored = fill.sample(value)
            if "full" in stored:
                arrays[name] = stored["full"]
            else:
                arrays |= {f"{name}::{key}": part for key, part in stored.items()}
            about[name] = {"shape": list(value.shape), "max_abs": float(np.abs(value).max())}
        np.savez(folder / f"{self.name}.npz", **arrays)
        description = {
            "params": self.params,
            "inputs": self.inputs,
            "settings": self.settings,
            "outputs": about,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(description))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gates(queries, keys):
    return np.array([[sigmoid(q @ k / sqrt(len(q))) for k in keys] for q in queries])


def sigmoid_attention(name="a_unseen", dim=16, n1=4, n2=6):
    case = Maker(name)
    maps, x1, x2 = case.attention(dim), case.input("x1", n1, dim), case.input("x2", n2, dim)
    probs = {
        1: gates(maps["query2"](x2), maps["key1"](x1)),
        2: gates(maps["query1"](x1), maps["key2"](x2)),
    }
    values = {1: maps["value1"](x1), 2: maps["value2"](x2)}
    for i, p in probs.items():
        closed = fill.choice(name, f"mask{i}", p.size, 5)
        case.settings[f"mask{i}"] = f"additive, -10000 at choice('mask{i}', {p.size}, 5), else 0"
        seen = p.copy()
        seen.flat[closed] = 0
        case.outputs |= {f"probs{i}": p, f"ctx{i}": p @ values[i]}
        case.outputs |= {f"masked/probs{i}": seen, f"masked/ctx{i}": seen @ values[i]}
    return case


def gated(maps, x1, x2):
    """The n2 x n1 x d way: every pair's gate times the own value, summed one pair at a time."""
    p1 = gates(maps["query2"](x2), maps["key1"](x1))
    p2 = gates(maps["query1"](x1), maps["key2"](x2))
    own1, own2 = maps["value1"](x1), maps["value2"](x2)
    out1, out2 = np.zeros_like(x1), np.zeros_like(x2)
    for i in range(len(x1)):
        for t in range(len(x2)):
            out1[i] += p2[i, t] * own1[i] / len(x2)
            out2[t] += p1[t, i] * own2[t] / len(x1)
    return out1, out2, p1, p2


def gated_layer(name="b_gated_unseen", dim=24, n1=7, n2=3):
    case = Maker(name)
    maps, x1, x2 = case.attention(dim), case.input("x1", n1, dim), case.input("x2", n2, dim)
    keys = ("ctx2", "ctx1", "probs1", "probs2")
    case.outputs = dict(zip(keys, gated(maps, x1, x2), strict=True))
    return case


def gated_stack(name="b_gated_unseen_stack3", dim=16, counts=(2, 5, 1)):
    case = Maker(name)
    images = case.input("img", len(counts), 4, dim)
    layers = [case.attention(dim, f"{i}.") for i in range(3)]
    fused = []
    for b, count in enumerate(counts):
        image, sentences = images[b], case.input(f"sen{b}", 1, count, dim)[0]
        for maps in layers:
            image, sentences, _, _ = gated(maps, image, sentences)
        fused.append(image)
        case.outputs[f"sen{b}"] = sentences[None]
    case.outputs["img"] = np.stack(fused)
    return case


def poolers(name="c_unseen", dim=16):
    case = Maker(name)
    maps = case.attention(dim, "unidir.", ("key1", "value1", "query2"))
    x1, x2 = case.input("uni_x1", 6, dim), case.input("uni_x2", 4, dim)
    probs = gates(maps["query2"](x2), maps["key1"](x1))
    case.outputs |= {"unidir/probs": probs, "unidir/ctx": probs @ maps["value1"](x1)}
    index = [[-1, 1, 1, 2, 2, 2, -1], [-1, 2, 3, 3, 5, -1, -1]]
    case.settings["sentence_index"] = index
    tokens = case.input("gather_x", 2, 7, 16)
    for b, row in enumerate(index):
        found = [tokens[b, np.equal(row, k)].mean(0) for k in range(1, 6) if k in row]
        case.outputs[f"gather/{b}"] = np.array(found)[None]
    return case


def unit(rows):
    return np.array([row / sqrt(row @ row) for row in rows])


def head(case, prefix, side, rows, dim_out):
    gain, offset = (
        case.param(f"{prefix}.{side}_ln.{k}", rows.shape[1]) for k in ("weight", "bias")
    )
    weight = case.param(f"{prefix}.{side}_proj.weight", dim_out, rows.shape[1])
    normal = [(r - r.mean()) / sqrt(r.var() + 1e-5) * gain + offset for r in rows]
    return unit([weight @ row for row in normal])


def infonce(logits):
    rows = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits)]
    columns = [np.log(np.exp(row).sum()) - row[i] for i, row in enumerate(logits.T)]
    return (np.mean(rows) + np.mean(columns)) / 2


def contrast(name="g_unseen", dim=32, counts=(2, 4, 1, 3), temperature=0.2):
    case, B = Maker(name), len(counts)
    for key, prefix, fused, other, width in (
        ("cml", "itc_cross_head", "mm_cls", "uni_cls", 2 * dim),
        ("dfa", "itc_agg_head", "mm_image_cls", "agg_image_cls", dim),
    ):
        left = head(case, prefix, "vision", case.input(fused, B, width), dim)
        right = head(case, prefix, "language", case.input(other, B, width), dim)
        logits = left @ right.T / temperature
        case.outputs |= {f"{key}_logits": logits, key: infonce(logits)}

    base, amplitude = case.input("ssm_base", 5, dim), (0.05, 0.5, 0.9)
    features = [unit(case.input(f"ssm_image{i}", 1, n, 64)[0]) for i, n in enumerate(counts)]
    targets = [
        np.array([
            base[(i + k) % 5] + amplitude[(i + k) % 3] * case.input(f"ssm_noise{i}_{k}", dim)
            for k in range(n)
        ])
        for i, n in enumerate(counts)
    ]  # fmt: skip
    kinds, losses = [0, 0, 0], []
    for i in range(B):
        case.outputs[f"ssm_target_input/{i}"] = targets[i][None]
        for j in range(i + 1, B):
            errors = []
            for a, b in np.ndindex(counts[i], counts[j]):
                cosine = features[i][a] @ features[j][b]
                wanted = unit(targets[i])[a] @ unit(targets[j])[b]
                same, other = wanted >= 0.9, wanted <= 0.6
                kinds[0 if same else 1 if other else 2] += 1
                errors.append(abs(cosine - wanted) if same else abs(cosine) if other else 0.0)
            losses.append(np.mean(errors))
    case.outputs["ssm"] = np.mean(losses)
    case.outputs["total"] = sum(case.outputs[key] for key in ("cml", "dfa", "ssm"))
    case.settings = {
        "temperature": temperature,
        "sentences": list(counts),
        "ssm_targets": "base[(i+k)%5] + amp[(i+k)%3]*noise_i_k, amp = [0.05, 0.5, 0.9]",
        "counts_ge0.9_le0.6_between": kinds,
    }
    return case


def write_all(folder):
    """Every case of this file; returns their names."""
    made = [sigmoid_attention(), gated_layer(), gated_stack(), poolers(), contrast()]
    for case in made:
        case.write(folder)
    return [case.name for case in made]
