"""The rows: what is computed, by every peer alike, and their inputs.

A row is a dictionary: kind (attention, additive, encoder), n queries, m keys, heads, d features of
a head, and what the kind needs. Files hold float32 matrices, row-major; heads are side by side.
"""

from pathlib import Path

import numpy as np

# Calls go round so many copies of K and V in a cold row that no cache holds them all.
COLD_BYTES = 256 << 20


def attention(name, n, m, d, heads=1, policy="none", quick=True, **more):
    row = dict(kind="attention", n=n, m=m, d=d, heads=heads, policy=policy, copies=1)
    return name, quick, {**row, **more}


def decode(m, cold, quick):
    d = 128
    copies = max(2, -(-COLD_BYTES // (8 * m * d))) if cold else 1
    name = f"decode, n=1, m={m}, d={d}" + (", cold" if cold else "")
    return attention(name, 1, m, d, quick=quick, copies=copies)


ROWS = [
    attention("full, n=m=2048, d=64, 8 heads", 2048, 2048, 64, 8),
    attention("full, n=m=4096, d=128", 4096, 4096, 128, quick=False),
    attention("full, n=m=512, d=64, 8 heads", 512, 512, 64, 8),
    attention("full, one 64x64 head", 64, 64, 64),
    attention("causal, n=m=2048, d=64, 8 heads", 2048, 2048, 64, 8, "causal"),
    attention("causal, n=m=4096, d=128", 4096, 4096, 128, 1, "causal", quick=False),
    attention("window of 256, n=m=2048, d=64, 8 heads", 2048, 2048, 64, 8, "window", window=256),
    attention("functor (ALiBi), n=m=2048, d=64, 8 heads", 2048, 2048, 64, 8, "alibi"),
    decode(4096, False, True),
    decode(8192, False, False),
    decode(16384, False, False),
    decode(32768, False, True),
    decode(4096, True, False),
    decode(32768, True, False),
    (
        "additive, n=m=1024, a=128",
        True,
        dict(kind="additive", n=1024, m=1024, heads=1, d=128, a=128),
    ),
    (
        "encoder, 6 layers, 128 tokens (MiniLM)",
        True,
        dict(kind="encoder", n=128, layers=6, d=384, heads=12, hidden=1536),
    ),
]


def encoder_shapes(row):
    """Parameters of all layers; W is inputs x outputs, as in the papers."""
    f, h = row["d"], row["hidden"]
    one = {
        **{name: (f, f) for name in ("Wq", "Wk", "Wv", "Wo")},
        **{name: (1, f) for name in ("bq", "bk", "bv", "bo")},
        **{"W1_": (f, h), "b1_": (1, h), "W2_": (h, f), "b2_": (1, f)},
        **{name: (1, f) for name in ("gain1_", "bias1_", "gain2_", "bias2_")},
    }
    return {f"{name}{k}": shape for k in range(row["layers"]) for name, shape in one.items()}


def shapes(row):
    """Name and shape of every input."""
    d = row["d"]
    if row["kind"] == "encoder":
        return {"X": (row["n"], d), **encoder_shapes(row)}
    width = row["heads"] * d
    all_shapes = {"Q": (row["n"], width), "K": (row["m"], width), "V": (row["m"], width)}
    if row["kind"] == "additive":
        all_shapes |= {"Wq": (d, row["a"]), "Wk": (d, row["a"]), "v": (1, row["a"])}
    return all_shapes


def write_inputs(row, folder, seed=1):
    """N(0, 1), weights divided by the root of their depth, gains around 1: always the same."""
    source = np.random.default_rng(seed)
    for name, shape in shapes(row).items():
        x = source.standard_normal(shape, dtype=np.float32)
        if name.startswith("W"):
            x /= np.sqrt(np.float32(shape[0]))
        if name.startswith("gain"):
            x = 1 + x / 8
        x.tofile(Path(folder) / name)


def read_inputs(row):
    """The inputs of a row as numpy arrays, by name."""
    folder = Path(row["inputs"])
    return {
        name: np.fromfile(folder / name, np.float32).reshape(shape)
        for name, shape in shapes(row).items()
    }


def by_head(x, heads):
    """n x (heads * d) -> 1 x heads x n x d, contiguous."""
    n, width = x.shape
    return np.ascontiguousarray(x.reshape(1, n, heads, width // heads).transpose(0, 2, 1, 3))


def packed(x):
    """1 x heads x n x d -> n x (heads * d)."""
    return x[0].transpose(1, 0, 2).reshape(x.shape[2], -1)


def slopes(heads):
    """ALiBi's slopes for eight heads: 1/2, 1/4, ..."""
    return np.exp2(-np.arange(1, heads + 1, dtype=np.float32))


def additive_mask(row):
    """What a peer without the policy is given: heads x n x m (or n x m) to add to scores."""
    i = np.arange(row["n"], dtype=np.float32)[:, None]
    j = np.arange(row["m"], dtype=np.float32)[None, :]
    if row["policy"] == "alibi":
        return -slopes(row["heads"])[:, None, None] * np.abs(i - j)
    seen = (j <= i) & (j > i - row.get("window", row["m"] + row["n"]))
    return np.where(seen, np.float32(0), np.float32(-np.inf))
