"""Deterministic tensors for the parity fixtures (numpy only, no libm, no RNG state).

Everything a fixture needs besides its expected outputs -- weights, inputs, token
ids, masks -- is a pure function of a *name* and a *shape*:

    u01(name, n)  n doubles in [0, 1): splitmix64 finaliser of
                  (i + 1) * GOLDEN + seed,  i = 0 .. n-1 (all arithmetic mod 2**64),
                  top 53 bits / 2**53,  seed = crc32(name) * 0x2545F4914F6CDD1D mod 2**64
    u(name, n)    2 * u01 - 1, i.e. in [-1, 1)

Flattening is C order.  Values are computed in float64 and then rounded to float32;
a float64 run uses those float32 values, upcast.

Rule used for a parameter (``param``), by its name and shape:
    * 1-D and the name ends in "weight" (an affine normalisation gain): 1 + 0.1 u
    * any other 1-D parameter (biases):                                 0.1 u
    * name ends in "relative_position_bias_table":                      0.5 u
    * "embeddings" in the name (lookup tables, >= 2-D):                 0.5 u
    * everything else (linear / convolution weights, >= 2-D):
          sqrt(3 / fan_in) u,   fan_in = product of shape[1:]
      (unit-variance output for a unit-variance input)
The string that is hashed is "<case>/<parameter name>".
Inputs use the string "<case>/input/<name>".
"""

from __future__ import annotations

import math
import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)


def u01(name: str, n: int) -> np.ndarray:
    seed = np.uint64((zlib.crc32(name.encode("utf-8")) * 0x2545F4914F6CDD1D) % 2**64)
    with np.errstate(over="ignore"):
        z = (np.arange(1, n + 1, dtype=np.uint64) * _GOLDEN) + seed
        z = (z ^ (z >> np.uint64(30))) * _M1
        z = (z ^ (z >> np.uint64(27))) * _M2
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(11)).astype(np.float64) * (1.0 / 2**53)


def u(name: str, shape) -> np.ndarray:
    n = int(np.prod(shape)) if len(tuple(shape)) else 1
    return (2.0 * u01(name, n) - 1.0).reshape(tuple(shape))


def param(case: str, name: str, shape) -> np.ndarray:
    x = u(f"{case}/{name}", shape)
    if len(shape) == 1:
        x = 1.0 + 0.1 * x if name.endswith("weight") else 0.1 * x
    elif name.endswith("relative_position_bias_table") or "embeddings" in name:
        x = 0.5 * x
    else:
        x = x * math.sqrt(3.0 / float(np.prod(shape[1:])))
    return x.astype(np.float32)


def tensor(case: str, name: str, shape, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Real-valued input: shift + scale * u, float32."""
    return (shift + scale * u(f"{case}/input/{name}", shape)).astype(np.float32)


def integers(case: str, name: str, shape, low: int, high: int) -> np.ndarray:
    """Integers in [low, high): low + floor(u01 * (high - low)), int64."""
    n = int(np.prod(shape))
    r = u01(f"{case}/input/{name}", n)
    return (low + np.floor(r * (high - low))).astype(np.int64).reshape(tuple(shape))


def choice(case: str, name: str, n: int, k: int) -> np.ndarray:
    """k distinct indices out of range(n): the first k of a stable argsort of u01; sorted."""
    order = np.argsort(u01(f"{case}/input/{name}", n), kind="stable")
    return np.sort(order[:k]).astype(np.int64)


def sample(x: np.ndarray, limit: int = 4096, keep: int = 2003):
    """What is stored of an expected output: all of it, or a strided sample plus statistics."""
    x = np.asarray(x, dtype=np.float64)
    if x.size <= limit:
        return {"full": x}
    stride = x.size // keep
    while math.gcd(stride, x.size) != 1:
        stride += 1
    flat = x.reshape(-1)
    return {
        "sample": flat[::stride],
        "stride": np.int64(stride),
        "shape": np.array(x.shape, dtype=np.int64),
        "stats": np.array([flat.mean(), flat.std(), np.sqrt((flat**2).sum()), np.abs(flat).max()]),
    }


if __name__ == "__main__":  # self-check values quoted in the README
    print(param("demo", "layer.weight", (2, 3)))
    print(param("demo", "layer.bias", (2,)))
    print(tensor("demo", "x", (4,), 0.5, 1.0))
    print(integers("demo", "ids", (6,), 5, 100), choice("demo", "m", 10, 4))
