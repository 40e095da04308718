#!/usr/bin/env python3
"""Writes the cases of data/vocabulary/: operations, attributes and inputs that the cases of other projects here do not
have, computed with plain loops and numpy from the formulas in the origins' documentation; no code under test is used.

usage: python3 tests/conformance/vocabulary.py [folder]
"""
import math, os, sys, zlib
import numpy as np

FOLDER = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "vocabulary")
DTYPES = {"float64": "float64", "int64": "int64", "bool": "bool"}


class Case:
    """Collects a case; numbers come from a generator seeded with the case's name."""

    def __init__(self, name, op, **attributes):
        self.name, self.op, self.parts, self.tolerance = name, op, [], "1e-09 1e-10"
        self.attributes = {k.replace("__", "."): v for k, v in attributes.items()}
        self.random = np.random.default_rng(zlib.crc32(name.encode()))

    def draw(self, *shape, low=-1.5, high=1.5):
        return np.round(self.random.uniform(low, high, shape), 3)

    def put(self, kind, name, values):
        values = np.asarray(values)
        self.parts.append((kind, name, values))
        return values

    def input(self, name, *shape, **range_):
        return self.put("input", name, self.draw(*shape, **range_))

    def given(self, name, values):
        return self.put("input", name, values)

    def weight(self, name, *shape, **range_):
        return self.put("weight", name, self.draw(*shape, **range_))

    def write(self, **outputs):
        for name, values in outputs.items():
            self.put("output", name, values)
        lines = ["# origin: softlook, plain loops of tests/conformance/vocabulary.py | COMPUTED | licence MIT",
                 f"case {self.name}", f"op {self.op}", f"tol {self.tolerance}"]
        lines += [f"attr {k} {v}" for k, v in self.attributes.items()]
        for kind, name, values in self.parts:
            lines.append(" ".join([kind, name, DTYPES[str(values.dtype)], *map(str, values.shape)]))
            lines.append(" ".join(number(x) for x in values.reshape(-1)))
        with open(os.path.join(FOLDER, self.name + ".case"), "w") as file:
            file.write("\n".join(lines + ["end"]) + "\n")


def number(x):
    if isinstance(x, np.bool_):
        return str(int(x))
    return repr(float(x)) if isinstance(x, np.floating) else str(int(x))


def softmax(S):
    """Rows of weights; rows of -inf become zeros. Also the log-sum-exps."""
    P, L = np.zeros_like(S), np.full(S.shape[:-1], -np.inf)
    for at in np.ndindex(S.shape[:-1]):
        top = S[at].max(initial=-np.inf)
        if top > -np.inf:
            e = [math.exp(s - top) for s in S[at]]
            P[at], L[at] = np.array(e) / math.fsum(e), top + math.log(math.fsum(e))
    return P, L


def attend(q, k, v, scale=None, cap=0.0, bias=None, allowed=None):
    """(B, H, L, D) tensors; bias(b, h, i, j, s) -> s, allowed(b, h, i, j) -> bool."""
    groups = q.shape[1] // k.shape[1]
    S = np.zeros((*q.shape[:3], k.shape[2]))
    for b, h, i, j in np.ndindex(S.shape):
        s = float(q[b, h, i] @ k[b, h // groups, j]) * (scale if scale is not None else q.shape[3] ** -0.5)
        s = cap * math.tanh(s / cap) if cap else s
        s = bias(b, h, i, j, s) if bias else s
        S[b, h, i, j] = s if not allowed or allowed(b, h, i, j) else -np.inf
    P, L = softmax(S)
    O = np.stack([np.stack([P[b, h] @ v[b, h // groups] for h in range(q.shape[1])]) for b in range(q.shape[0])])
    return O, P, L, S


heads_first = lambda x: x.swapaxes(1, 2)


def onnx_flex():
    for name, attributes in {
        "onnx_flex_soft_cap": {"score_mod": "score_mod_soft_cap", "score_mod__cap": 2.5},
        "onnx_flex_causal": {"score_mod": "score_mod_causal_mask", "score_mod__neg_inf": "-inf"},
        "onnx_flex_causal_lowest": {"score_mod": "score_mod_causal_mask", "score_mod__neg_inf": -1e9},
        "onnx_flex_causal_small": {"score_mod": "score_mod_causal_mask", "score_mod__neg_inf": -1.5},
    }.items():
        c = Case(name, "onnx.FlexAttention", **attributes)
        q, k, v = c.input("Q", 1, 2, 4, 3), c.input("K", 1, 2, 5, 3), c.input("V", 1, 2, 5, 2)
        later = float(attributes.get("score_mod__neg_inf", 0))
        bias = (lambda b, h, i, j, s: s if j <= i else later) if "causal" in name else None
        c.write(Y=attend(q, k, v, cap=attributes.get("score_mod__cap", 0.0), bias=bias)[0])


def onnx_cache():
    c = Case("onnx_tensor_scatter_circular", "onnx.TensorScatter", mode="circular")
    past, update = c.input("past_cache", 2, 2, 4, 3), c.input("update", 2, 2, 3, 3)
    first = c.given("write_indices", np.array([3, 1]))
    cache = past.copy()
    for b, h, t in np.ndindex(2, 2, 3):
        cache[b, h, (first[b] + t) % 4] = update[b, h, t]
    c.write(present_cache=cache)


def onnx_rotary():
    c = Case("onnx_rotary_packed", "onnx.RotaryEmbedding", num_heads=2)
    x = c.input("X", 2, 3, 8)
    angles = np.arange(3)[:, None] * 10000.0 ** (-np.arange(2) / 2)
    cos, sin = c.given("cos_cache", np.cos(angles)), c.given("sin_cache", np.sin(angles))
    c.given("position_ids", np.array([[0, 1, 2], [2, 0, 1]]))
    y = x.copy()
    for b, t, h, k in np.ndindex(2, 3, 2, 2):
        p, a, z = [[0, 1, 2], [2, 0, 1]][b][t], x[b, t, 4 * h + k], x[b, t, 4 * h + 2 + k]
        y[b, t, 4 * h + k] = a * cos[p, k] - z * sin[p, k]
        y[b, t, 4 * h + 2 + k] = z * cos[p, k] + a * sin[p, k]
    c.write(Y=y)


def jax():
    c = Case("jax_query_lengths_window", "jax.dot_product_attention", is_causal=0, local_window_size="3 2")
    c.tolerance = "1e-05 1e-05"
    q, k, v = (c.input(n, 2, 7, 2, 3) for n in ("query", "key", "value"))
    lengths = c.given("query_seq_lengths", np.array([5, 7]))
    O = attend(*map(heads_first, (q, k, v)), allowed=lambda b, h, i, j: i - 3 <= j <= i + 2)[0]
    for b in range(2):
        O[b, :, lengths[b]:] = 0
    c.write(output=heads_first(O))


def timm():
    c = Case("timm_cbam_channels", "timm.cbam.ChannelAttn")
    x, W1, W2 = c.input("x", 2, 4, 3, 2), c.weight("fc1.weight", 2, 4, 1, 1), c.weight("fc2.weight", 4, 2, 1, 1)
    mlp = lambda s: W2[:, :, 0, 0] @ np.maximum(W1[:, :, 0, 0] @ s, 0)
    gates = [1 / (1 + np.exp(-mlp(m.mean((1, 2))) - mlp(m.max((1, 2))))) for m in x]
    c.write(output=x * np.stack(gates)[:, :, None, None])
    for use_scale in (1, 0):
        c = Case(f"timm_non_local_scale{use_scale}", "timm.NonLocalAttn", use_scale=use_scale)
        x = c.input("x", 2, 4, 3, 2)
        W = {n: (c.weight(n + ".weight", *((4, 3) if n == "z" else (3, 4)), 1, 1)[:, :, 0, 0],
                 c.weight(n + ".bias", 4 if n == "z" else 3)) for n in "tpgz"}
        norm = [c.weight("norm." + n, 4, low=0.5) for n in ("weight", "bias", "running_mean", "running_var")]
        y = np.zeros_like(x)
        for b in range(2):
            pixels = x[b].reshape(4, 6).T
            t, p, g = (pixels @ W[n][0].T + W[n][1] for n in "tpg")
            P, _ = softmax(t @ p.T * (4 ** -0.5 if use_scale else 1))
            z = P @ g @ W["z"][0].T + W["z"][1]
            y[b] = x[b] + (norm[0] * (z - norm[2]) / np.sqrt(norm[3] + 1e-5) + norm[1]).T.reshape(4, 3, 2)
        c.write(output=y)


def keras():
    c = Case("keras_gqa_sliding_window", "keras.GroupedQueryAttention", num_heads=4, num_kv_heads=2, key_dim=3,
             value_dim=3, use_bias=0, use_causal_mask=0, sliding_window=2)
    q, v, k = c.input("query", 2, 5, 4), c.input("value", 2, 5, 4), c.input("key", 2, 5, 4)
    Wq, Wk, Wv = c.weight("query_kernel", 4, 4, 3), c.weight("key_kernel", 4, 2, 3), c.weight("value_kernel", 4, 2, 3)
    Wo = c.weight("output_kernel", 4, 3, 4)
    made = lambda x, W: np.einsum("btd,dhk->bhtk", x, W)
    O, P, *_ = attend(made(q, Wq), made(k, Wk), made(v, Wv), allowed=lambda b, h, i, j: abs(i - j) < 2)
    c.write(output=np.einsum("bhtk,hkd->btd", O, Wo), attention_scores=P)
    for op, mode, scaled, causal, dead in (("Attention", "dot", 1, 1, 1), ("Attention", "concat", 1, 1, 1), ("AdditiveAttention", "", 1, 1, 1),
                                           ("AdditiveAttention", "", 1, 1, 0), ("Attention", "concat", 1, 0, 0)):
        name = f"keras_{op.lower()}{mode and '_' + mode}_{'causal_' if causal else ''}{'no_key' if dead else 'value_mask'}"
        c = Case(name, "keras." + op, use_scale=scaled, use_causal_mask=causal)
        if mode:
            c.attributes["score_mode"] = mode
        if dead:
            c.attributes["implementation_defined"] = 1
            c.tolerance = "1e-05 1e-06"  # 1e9 is subtracted from the scores of a row without keys
        q, v, k = c.input("query", 2, 4, 3), c.input("value", 2, 4, 2), c.input("key", 2, 4, 3)
        mask = c.given("value_mask", np.array([[not dead, True, False, True], [True, True, True, False]]))
        scale = c.weight("scale", *((3,) if op == "AdditiveAttention" else ()))
        w = c.weight("concat_score_weight") if mode == "concat" else 1.0
        S = np.zeros((2, 4, 4))
        for b, i, j in np.ndindex(S.shape):
            if op == "AdditiveAttention":
                S[b, i, j] = sum(scale * np.tanh(q[b, i] + k[b, j]))
            elif mode == "concat":
                S[b, i, j] = w * sum(np.tanh(scale * (q[b, i] + k[b, j])))
            else:
                S[b, i, j] = scale * (q[b, i] @ k[b, j])
            if not mask[b, j] or (causal and j > i):
                S[b, i, j] -= 1e9
        P, _ = softmax(S)
        c.write(output=np.stack([P[b] @ v[b] for b in range(2)]), attention_scores=P)


def fla_softmax():
    for name, sink, window in (("fla_attn_gate", False, 0), ("fla_attn_gate_sink_window", True, 3), ("fla_attn_window", False, 2)):
        c = Case(name, "fla.naive_parallel_attn", scale=0.5, causal=1, window_size=window)
        q, k, v = c.input("q", 2, 5, 4, 3), c.input("k", 2, 5, 2, 3), c.input("v", 2, 5, 2, 2)
        g = c.input("g", 2, 5, 4, low=-0.9, high=0) if "gate" in name else np.zeros((2, 5, 4))
        s = c.input("sink_bias", 4) if sink else np.full(4, -np.inf)
        seen = lambda b, h, i, j: j <= i and (not window or i - j < window)
        between = lambda b, h, i, j, x: x + (sum(g[b, j + 1:i + 1, h]) if j <= i else 0)
        q4, k4, v4 = map(heads_first, (q, k, v))
        O, P, L, S = attend(q4, k4, v4, scale=0.5, bias=between, allowed=seen)
        largest = np.maximum(S.max(-1), s[None, :, None])
        share = 1 / (1 + np.exp(s[None, :, None] - L))  # of the keys, beside the sink
        c.write(o=heads_first(O * share[..., None]), max_logits=heads_first(largest))


def fla_linear():
    c = Case("fla_linear_initial_z", "fla.naive_recurrent_linear_attn", scale=0.5, normalize=1)
    q, k, v = c.input("q", 2, 6, 2, 4, low=0.1), c.input("k", 2, 6, 2, 4, low=0.1), c.input("v", 2, 6, 2, 3)
    S, z = c.input("initial_state", 2, 2, 4, 3).copy(), c.input("initial_z", 2, 1, 2, 4, low=0.1)[:, 0].copy()
    o = np.zeros((2, 6, 2, 3))
    for b, h, t in np.ndindex(2, 2, 6):
        S[b, h] += np.outer(k[b, t, h], v[b, t, h])
        z[b, h] += k[b, t, h]
        o[b, t, h] = 0.5 * q[b, t, h] @ S[b, h] / (0.5 * q[b, t, h] @ z[b, h] + 1e-10)
    c.write(o=o, final_state_0=S, final_state_1=z[:, None])
    c = Case("fla_simple_gla_initial_state", "fla.naive_recurrent_simple_gla", scale=0.5)
    q, k, v = c.input("q", 2, 6, 2, 4), c.input("k", 2, 6, 2, 4), c.input("v", 2, 6, 2, 3)
    g, S = c.input("g", 2, 6, 2, low=-0.9, high=0), c.input("initial_state", 2, 2, 4, 3).copy()
    o = np.zeros((2, 6, 2, 3))
    for b, h, t in np.ndindex(2, 2, 6):
        S[b, h] = math.exp(g[b, t, h]) * S[b, h] + np.outer(k[b, t, h], v[b, t, h])
        o[b, t, h] = 0.5 * q[b, t, h] @ S[b, h]
    c.write(o=o, final_state=S)


def performer():
    c = Case("performer_favor_causal", "performer.favor_softmax", causal=1)
    q, k, v, W = c.input("q", 1, 2, 9, 4), c.input("k", 1, 2, 9, 4), c.input("v", 1, 2, 9, 3), c.input("projection_matrix", 6, 4)
    root = 4 ** -0.25
    exponents = lambda x: np.einsum("bhnd,fd->bhnf", root * x, W)
    half = lambda x: 0.5 * (root * x ** 2 * root).sum(-1, keepdims=True)
    shift = lambda e, axes: e.max(axes, keepdims=True)
    eq, ek = exponents(q), exponents(k)
    qp = 6 ** -0.5 * (np.exp(eq - half(q) - shift(eq, -1)) + 1e-4)
    kp = 6 ** -0.5 * (np.exp(ek - half(k) - shift(ek, (-1, -2))) + 1e-4)
    O = np.zeros((1, 2, 9, 3))
    for h, i in np.ndindex(2, 9):
        a = np.array([qp[0, h, i] @ kp[0, h, j] for j in range(i + 1)])
        O[0, h, i] = a @ v[0, h, :i + 1] / (a.sum() + 1e-6 * qp[0, h, i].sum())
    c.write(q_prime=qp, k_prime=kp, output=O)


def flash():
    rules = {"fa_alibi": {"alibi": 1}, "fa_alibi_padding_window": {"alibi": 1, "padding": 1, "left": 3, "right": 1},
             "fa_sink_tokens_window": {"left": 1, "right": 0, "tokens": 2}, "fa_sink_tokens_padding": {"left": 2, "tokens": 1, "padding": 1, "causal": 1},
             "fa_learnable_sink_window": {"left": 2, "right": 1, "sink": 1}, "fa_chunk_padding": {"chunk": 2, "padding": 1}}
    for name, r in rules.items():
        c = Case(name, "flash_attn.attention_ref", causal=r.get("causal", 0), window_left=r.get("left", -1), window_right=r.get("right", -1),
                 softcap=0.0, sink_token_length=r.get("tokens", 0), attention_chunk=r.get("chunk", 0))
        n, m = 5, 7
        q, k, v = c.input("q", 2, n, 4, 3), c.input("k", 2, m, 2, 3), c.input("v", 2, m, 2, 3)
        slopes = c.input("alibi_slopes", 2, 4, low=0.1, high=0.9) if r.get("alibi") else np.zeros((2, 4))
        real_n, real_m = np.array([n, n]), np.array([m, m])
        if r.get("padding"):
            real_n, real_m = np.array([4, 5]), np.array([7, 5])
            c.given("query_padding_mask", np.arange(n)[None] < real_n[:, None])
            c.given("key_padding_mask", np.arange(m)[None] < real_m[:, None])
        sinks = c.input("learnable_sink", 4) if r.get("sink") else np.full(4, -np.inf)
        left, right, chunk = r.get("left", -1), 0 if r.get("causal") else r.get("right", -1), r.get("chunk", 0)

        def seen(b, h, i, j):
            p = i + real_m[b] - real_n[b]
            inside = left < 0 or j >= p - left or j < r.get("tokens", 0)
            return bool(j < real_m[b] and inside and (right < 0 or j <= p + right) and (not chunk or p // chunk == j // chunk))

        distance = lambda b, h, i, j, s: s - slopes[b, h] * abs(i + real_m[b] - real_n[b] - j)
        O, P, L, _ = attend(*map(heads_first, (q, k, v)), bias=distance, allowed=seen)
        total = np.logaddexp(L, sinks[None, :, None])
        share = np.where(np.isfinite(L), np.exp(L - np.where(np.isfinite(total), total, 0)), 0)[..., None]
        O, P = O * share, P * share
        for b in range(2):
            O[b, :, real_n[b]:], P[b, :, real_n[b]:] = 0, 0
        c.write(output=heads_first(O), attention=P, lse=total)


def yarn():
    for name, more in (("rope_scaling_yarn", {}), ("rope_scaling_yarn_betas", {"beta_fast": 16.0, "beta_slow": 2.0})):
        c = Case(name, "rope_inv_freq", head_dim=16, theta=10000.0, max_position_embeddings=256, rope_type="yarn", factor=4.0,
                 original_max_position_embeddings=64, **more)
        pair = lambda turns: 16 * math.log(64 / (turns * 2 * math.pi)) / (2 * math.log(10000.0))
        low = max(math.floor(pair(more.get("beta_fast", 32))), 0)
        high = min(math.ceil(pair(more.get("beta_slow", 1))), 15)
        high = high + 0.001 if low == high else high
        f = [10000.0 ** (-2 * k / 16) for k in range(8)]
        ramp = [min(max((k - low) / (high - low), 0), 1) for k in range(8)]
        c.write(inv_freq=np.array([x / 4 * r + x * (1 - r) for x, r in zip(f, ramp)]), attention_factor=np.array(0.1 * math.log(4.0) + 1))


def allennlp():
    for normalize in (0, 1):
        c = Case(f"allennlp_dot_normalize{normalize}", "allennlp.DotProductAttention", normalize=normalize)
        x, Y = c.input("vector", 2, 3), c.input("matrix", 2, 4, 3)
        s = np.einsum("bd,bnd->bn", x, Y)
        c.write(output=softmax(s)[0] if normalize else s)
    c = Case("allennlp_dot_matrix", "allennlp.DotProductMatrixAttention")
    X, Y = c.input("matrix_1", 2, 3, 3), c.input("matrix_2", 2, 4, 3)
    c.write(output=X @ Y.swapaxes(1, 2))
    c = Case("allennlp_bilinear_matrix_input_biases", "allennlp.BilinearMatrixAttention", use_input_biases=1)
    X, Y = c.input("matrix_1", 2, 3, 2), c.input("matrix_2", 2, 4, 3)
    W, b = c.weight("weight_matrix", 3, 4), c.weight("bias", 1)
    one = lambda t: np.concatenate([t, np.ones((*t.shape[:2], 1))], 2)
    c.write(output=one(X) @ W @ one(Y).swapaxes(1, 2) + b[0])
    c = Case("allennlp_linear_trilinear", "allennlp.LinearAttention", combination="x,y,x*y", normalize=1)
    x, Y, w, b = c.input("vector", 2, 3), c.input("matrix", 2, 4, 3), c.weight("weight_vector", 9), c.weight("bias", 1)
    s = np.array([[w[:3] @ x[n] + w[3:6] @ y + w[6:] @ (x[n] * y) + b[0] for y in Y[n]] for n in range(2)])
    c.write(output=softmax(s)[0])


def tfa():
    for name, op, attributes in (
        ("tfa_bahdanau_normalized_len", "BahdanauAttention", {"normalize": 1}),
        ("tfa_bahdanau_hardmax", "BahdanauAttention", {"probability_fn": "hardmax"}),
        ("tfa_bahdanau_normalized_hardmax_len", "BahdanauAttention", {"normalize": 1, "probability_fn": "hardmax"}),
        ("tfa_bahdanau_monotonic_hard", "BahdanauMonotonicAttention", {"mode": "hard"}),
        ("tfa_luong_monotonic_hard_len", "LuongMonotonicAttention", {"mode": "hard"}),
    ):
        c = Case(name, "tfa." + op, units=3, steps=3, **attributes)
        memory, queries = c.input("memory", 2, 6, 4), c.input("queries", 3, 2, 3)
        lengths = c.given("memory_sequence_length", np.array([4, 6])) if name.endswith("len") else np.array([6, 6])
        before = c.given("initial_alignments", np.eye(1, 6).repeat(2, 0))
        Wk = c.weight("memory_layer_kernel", 4, 3)
        additive, normalize = op.startswith("Bahdanau"), attributes.get("normalize")
        if additive:
            Wq, v = c.weight("query_layer_kernel", 3, 3), c.weight("attention_v", 3)
        b = np.zeros(3)
        if normalize:
            g, b = c.weight("attention_g", low=0.5), c.weight("attention_b", 3)
            v = g * v / math.sqrt(v @ v)
        r = c.weight("attention_score_bias") if "mode" in attributes else 0.0
        memory = np.where(np.arange(6)[None, :, None] < lengths[:, None, None], memory, 0)
        keys, alignments, contexts = memory @ Wk, [], []
        for q in queries:
            now = np.zeros((2, 6))
            for n in range(2):
                e = np.array([v @ np.tanh(q[n] @ Wq + k + b) if additive else q[n] @ k for k in keys[n]]) + r
                if "mode" in attributes:  # the first key from the last one chosen on whose energy is positive
                    start = int(before[n].argmax()) if before[n].any() else 6
                    chosen = [j for j in range(start, lengths[n]) if e[j] > 0]
                    now[n, chosen[:1]] = 1
                elif attributes.get("probability_fn") == "hardmax":
                    now[n, int(e[:lengths[n]].argmax())] = 1
                else:
                    now[n, :lengths[n]] = softmax(e[:lengths[n]])[0]
            alignments.append(now)
            contexts.append(np.einsum("bt,btd->bd", now, memory))
            before = now if "mode" in attributes else before
        c.write(keys=keys, alignments=np.stack(alignments), context=np.stack(contexts))
    c = Case("tfa_monotonic_attention_hard", "tfa.monotonic_attention", mode="hard")
    p = c.given("p_choose_i", np.array([[0.0, 1, 0, 1, 1], [1, 0, 0, 1, 0], [1, 1, 0, 0, 0]]))
    previous = c.given("previous_attention", np.array([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]]))
    out = np.zeros((3, 5))
    for n in range(3):
        out[n, [j for j in range(int(previous[n].argmax()), 5) if p[n, j] == 1][:1]] = 1
    c.write(attention=out)


def sparsemax(s):
    z, total = sorted(s, reverse=True), 0.0
    for k, x in enumerate(z, 1):
        if 1 + k * x > total + x:
            tau = (total + x - 1) / k
        total += x
    return np.maximum(s - tau, 0)


def onmt():
    for kind in ("general", "dot"):
        c = Case(f"onmt_{kind}_sparsemax_len", "onmt.GlobalAttention", attn_type=kind, attn_func="sparsemax", one_step=0)
        q, H, lengths = c.input("query", 2, 3, 4), c.input("memory", 2, 5, 4), c.given("src_len", np.array([3, 5]))
        Wi = c.weight("linear_in.weight", 4, 4) if kind == "general" else np.eye(4)
        Wo = c.weight("linear_out.weight", 4, 8)
        P = np.zeros((2, 3, 5))
        for b, i in np.ndindex(2, 3):
            P[b, i, :lengths[b]] = sparsemax(H[b, :lengths[b]] @ (Wi @ q[b, i]))
        c.write(attn_h=np.tanh(np.concatenate([P @ H, q], 2) @ Wo.T), align_vectors=P)


def luong():
    for predictive in (False, True):
        for score in ("dot", "general", "concat"):
            D = 2
            c = Case(f"luong_local_{'p' if predictive else 'm'}_{score}", "luong.local_" + ("p" if predictive else "m"), D=D, score=score)
            if not predictive:
                c.attributes["t"] = 1
            h, E = c.input("hidden", 2, 3), c.input("encoder_outputs_SBH", 9, 2, 3)
            if predictive:
                Wp, bp, vp, bv = c.weight("Wp.weight", 4, 3), c.weight("Wp.bias", 4), c.weight("vp.weight", 1, 4, low=-0.3, high=0.3), c.weight("vp.bias", 1, low=-0.1, high=0.1)
            if score == "general":
                W = c.weight("attn_score.W", 3, 3)
            if score == "concat":
                W, v = c.weight("attn_score.W.weight", 4, 6), c.weight("attn_score.v.weight", 1, 4)
            weights, contexts, positions, starts = [], [], [], []
            for b in range(2):
                p = 9 / (1 + math.exp(-(vp[0] @ np.tanh(Wp @ h[b] + bp) + bv[0]))) if predictive else 1.0
                first, last = max(round(p) - D, 0), min(round(p) + D, 8)
                assert not predictive or last - first == 2 * D
                X = E[first:last + 1, b]
                if score == "dot":
                    s = X @ h[b]
                elif score == "general":
                    s = X @ (h[b] @ W)
                else:
                    s = np.array([v[0] @ np.tanh(W @ np.concatenate([x, h[b]])) for x in X])
                a = softmax(s)[0]
                if predictive:
                    a = a * np.exp(-(np.arange(first, last + 1) - p) ** 2 / (2 * (D / 2) ** 2))
                weights.append(a), contexts.append(a @ X), positions.append(p), starts.append(first)
            outputs = {"attn_weights_window": np.stack(weights), "context": np.stack(contexts), "window_start": np.array(starts)}
            c.write(**outputs, **({"p_t": np.array(positions)} if predictive else {}))


def torch_window():
    c = Case("sdpa_causal_window", "torch.sdpa", mask_rule="causal_window j<=i && i-j<3", enable_gqa=0, is_causal=0)
    q, k, v = (c.input(n, 1, 2, 7, 3) for n in ("query", "key", "value"))
    c.write(output=attend(q, k, v, allowed=lambda b, h, i, j: j <= i and i - j < 3)[0])


def linear(x, W, b):
    return x @ W.T + (0 if b is None else b)


def heads_of(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def mha(W, q, k, v, heads, bias=None, allowed=None, prefix="", biases=True):
    """An nn.MultiheadAttention on (B, L, E)."""
    E = q.shape[2]
    Win, Wo = W[prefix + "in_proj_weight"], W[prefix + "out_proj.weight"]
    b = W[prefix + "in_proj_bias"] if biases else np.zeros(3 * E)
    parts = [linear(x, Win[i * E:(i + 1) * E], b[i * E:(i + 1) * E]) for i, x in enumerate((q, k, v))]
    O, P, *_ = attend(*(heads_of(x, heads) for x in parts), bias=bias, allowed=allowed)
    return linear(O.swapaxes(1, 2).reshape(q.shape), Wo, W[prefix + "out_proj.bias"] if biases else None), P


def mha_weights(c, E, prefix="", biases=True):
    W = {}
    for name, shape in (("in_proj_weight", (3 * E, E)), ("in_proj_bias", (3 * E,)), ("out_proj.weight", (E, E)), ("out_proj.bias", (E,))):
        if biases or not name.endswith("bias"):
            W[prefix + name] = c.weight(prefix + name, *shape, low=-0.8, high=0.8)
    return W


def torch_mha():
    for name, unbatched, first in (("mha_numeric_padding", 0, 1), ("mha_unbatched", 1, 1), ("mha_unbatched_seq_first", 1, 0)):
        c = Case(name, "torch.MultiheadAttention", embed_dim=4, num_heads=2, kdim=4, vdim=4, bias=1, batch_first=first, self_attention=0,
                 unbatched=unbatched, add_bias_kv=0, add_zero_attn=0, need_weights=1, average_attn_weights=0 if unbatched else 1)
        B = () if unbatched else (2,)
        q, k, v = c.input("query", *B, 3, 4), c.input("key", *B, 5, 4), c.input("value", *B, 5, 4)
        padding = c.given("key_padding_mask", np.where(c.draw(*B, 5) > 0.7, -np.inf, c.draw(*B, 5)))
        mask = c.given("attn_mask", c.draw(*((2, 3, 5) if unbatched else (3, 5)))) if unbatched or not first else c.input("attn_mask", 3, 5)
        W = mha_weights(c, 4)
        lead = (lambda x: x[None]) if unbatched else (lambda x: x)
        added = lambda b, h, i, j, s: s + lead(padding)[b, j] + (mask[h, i, j] if mask.ndim == 3 else mask[i, j])
        O, P = mha(W, lead(q), lead(k), lead(v), 2, bias=added)
        c.write(attn_output=O[0] if unbatched else O, attn_output_weights=P[0] if unbatched else P.mean(1))


def norm(x, gain, bias):
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * gain
    return y if bias is None else y + bias


def feed_forward(W, x, gelu):
    h = linear(x, W["linear1.weight"], W.get("linear1.bias"))
    h = h * 0.5 * (1 + np.vectorize(math.erf)(h / math.sqrt(2))) if gelu else np.maximum(h, 0)
    return linear(h, W["linear2.weight"], W.get("linear2.bias"))


def layer_weights(c, attentions, biases, prefix=""):
    W = {}
    for name in attentions:
        W.update(mha_weights(c, 4, prefix + name, biases))
    shapes = {"linear1.weight": (6, 4), "linear1.bias": (6,), "linear2.weight": (4, 6), "linear2.bias": (4,)}
    shapes.update({f"norm{k + 1}.{n}": (4,) for k in range(len(attentions) + 1) for n in ("weight", "bias")})
    for name, shape in shapes.items():
        if biases or not name.endswith("bias"):
            W[prefix + name] = c.weight(prefix + name, *shape, low=0.2 if "norm" in name else -0.8, high=1.0)
    return {n[len(prefix):]: x for n, x in W.items()}


def torch_layers():
    keep = lambda mask, padding: lambda b, h, i, j: not (mask is not None and mask[i, j]) and not (padding is not None and padding[b, j])
    added = lambda mask: None if mask is None or mask.dtype == bool else lambda b, h, i, j, s: s + mask[i, j]
    for name, op, first, gelu, biases, number_mask in (("encoder_layer_masks_gelu", "EncoderLayer", 0, 1, 1, 0), ("encoder_layer_no_bias", "EncoderLayer", 1, 0, 0, 1),
                                                       ("encoder_stack_masks", "Encoder", 1, 1, 1, 0)):
        c = Case(name, "torch.Transformer" + op, d_model=4, nhead=2, dim_feedforward=6, norm_first=first, batch_first=1, layer_norm_eps=1e-05, bias=biases,
                 activation="gelu" if gelu else "relu")
        x = c.input("src", 2, 5, 4)
        mask = c.input("src_mask", 5, 5) if number_mask else c.given("src_mask", np.triu(np.ones((5, 5), bool), 1))
        padding = c.given("src_key_padding_mask", np.array([[0, 0, 0, 0, 0], [0, 0, 0, 1, 1]], bool))
        stack = 2 if op == "Encoder" else 0
        if stack:
            c.attributes.update(num_layers=2, final_norm=1)
        for n in range(max(stack, 1)):
            W = layer_weights(c, ["self_attn."], biases, f"layers.{n}." if stack else "")
            n1, n2 = ((lambda y, k=k: norm(y, W[f"norm{k}.weight"], W.get(f"norm{k}.bias"))) for k in (1, 2))
            sees = keep(None if number_mask else mask, padding)
            attention = lambda y: mha(W, y, y, y, 2, bias=added(mask), allowed=sees, prefix="self_attn.", biases=biases)[0]
            x = x + attention(n1(x)) if first else n1(x + attention(x))
            x = x + feed_forward(W, n2(x), gelu) if first else n2(x + feed_forward(W, x, gelu))
        if stack:
            x = norm(x, c.weight("norm.weight", 4), c.weight("norm.bias", 4))
        c.write(output=x)
    c = Case("decoder_layer_all_masks", "torch.TransformerDecoderLayer", d_model=4, nhead=2, dim_feedforward=6, norm_first=0, batch_first=1, layer_norm_eps=1e-05, bias=0,
             activation="relu")
    x, memory = c.input("tgt", 2, 4, 4), c.input("memory", 2, 5, 4)
    tmask, mmask = c.given("tgt_mask", np.triu(np.ones((4, 4), bool), 1)), c.given("memory_mask", np.triu(np.ones((4, 5), bool), 3))
    tpad, mpad = c.given("tgt_key_padding_mask", np.array([[0, 0, 0, 0], [0, 0, 0, 1]], bool)), c.given("memory_key_padding_mask", np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 1]], bool))
    W = layer_weights(c, ["self_attn.", "multihead_attn."], False)
    x = norm(x + mha(W, x, x, x, 2, allowed=keep(tmask, tpad), prefix="self_attn.", biases=False)[0], W["norm1.weight"], None)
    x = norm(x + mha(W, x, memory, memory, 2, allowed=keep(mmask, mpad), prefix="multihead_attn.", biases=False)[0], W["norm2.weight"], None)
    c.write(output=norm(x + feed_forward(W, x, False), W["norm3.weight"], None))


def flex():
    n = 9
    scores = {
        "flex_alibi_symmetric": ("alibi symmetric: s - slopes[h]*|j-i|", lambda m, h, i, j, s: s - m[h] * abs(j - i)),
        "flex_softcap_of_alibi": ("softcap of alibi: cap*tanh((s + slopes[h]*(j-i))/cap)", lambda m, h, i, j, s: 2 * math.tanh((s + m[h] * (j - i)) / 2)),
    }
    for name, (words, f) in scores.items():
        c = Case(name, "torch.flex_attention", score_mod=words, enable_gqa=0)
        if "softcap" in name:
            c.attributes["softcap"] = 2.0
        q, k, v = (c.input(x, 1, 2, n, 3) for x in ("query", "key", "value"))
        slopes = c.input("alibi_slopes", 2, low=0.1, high=0.6)
        O, _, L, _ = attend(q, k, v, bias=lambda b, h, i, j, s: f(slopes, h, i, j, s))
        c.write(output=O, lse=L)
    documents, prefix = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2]), np.array([4, 0])
    masks = {
        "flex_sliding_window_4": ("sliding window causal: 0<=i-j<=4", lambda b, i, j: 0 <= i - j <= 4),
        "flex_causal_window_5": ("causal window: 0<=i-j<5", lambda b, i, j: 0 <= i - j < 5),
        "flex_document": ("document: doc[i]==doc[j]", lambda b, i, j: documents[i] == documents[j]),
        "flex_prefix_lm": ("prefix-LM: j<prefix_len[b] or j<=i", lambda b, i, j: j < prefix[b] or j <= i),
        "flex_dilated_causal": ("dilated causal: j<=i and (i-j)%2==0", lambda b, i, j: j <= i and (i - j) % 2 == 0),
        "flex_strided": ("Sparse Transformer strided(4)", lambda b, i, j: j <= i and (i - j <= 4 or (i - j) % 4 == 0)),
        "flex_fixed": ("Sparse Transformer fixed(l=4,c=1)", lambda b, i, j: j <= i and (i // 4 == j // 4 or j % 4 == 3)),
        "flex_words_unknown": ("every key but the query's own: i!=j", lambda b, i, j: i != j),
    }
    for name, (words, sees) in masks.items():
        c = Case(name, "torch.flex_attention", mask_mod=words, enable_gqa=1)
        B = 2 if "prefix" in name else 1
        q, k, v = c.input("query", B, 2, n, 3), c.input("key", B, 1, n, 3), c.input("value", B, 1, n, 3)
        if "document" in name:
            c.given("document_id", documents)
        if "prefix" in name:
            c.given("prefix_len", prefix)
        c.given("dense_mask", np.array([[[[bool(sees(b, i, j)) for j in range(n)] for i in range(n)]] for b in range(B)]))
        O, _, L, _ = attend(q, k, v, allowed=lambda b, h, i, j: sees(b, i, j))
        c.write(output=O, lse=L)


def t5():
    c = Case("t5_attention_decoder", "t5.T5Attention", is_decoder=1, num_heads=2, d_kv=3, num_buckets=8, max_distance=16, causal=1)
    x = c.input("hidden_states", 2, 9, 4)
    W = {n: c.weight(n + ".weight", *((4, 6) if n == "o" else (6, 4))) for n in "qkvo"}
    table = c.weight("relative_attention_bias.weight", 8, 2)
    bucket = lambda d: d if d < 4 else min(4 + int(math.log(d / 4) / math.log(16 / 4) * 4), 7)
    B = np.array([[[table[bucket(max(i - j, 0)), h] for j in range(9)] for i in range(9)] for h in range(2)])
    q, k, v = (heads_of(x @ W[n].T, 2) for n in "qkv")
    O = attend(q, k, v, scale=1.0, bias=lambda b, h, i, j, s: s + B[h, i, j], allowed=lambda b, h, i, j: j <= i)[0]
    lowest = np.finfo(np.float64).min
    c.write(output=O.swapaxes(1, 2).reshape(2, 9, 6) @ W["o"].T, position_bias=np.where(np.arange(9)[None] <= np.arange(9)[:, None], B, lowest)[None])


if __name__ == "__main__":
    os.makedirs(FOLDER, exist_ok=True)
    for make in (onnx_flex, onnx_cache, onnx_rotary, jax, timm, keras, fla_softmax, fla_linear, performer, flash, yarn, allennlp, tfa, onmt, luong, torch_window,
                 torch_mha, torch_layers, flex, t5):
        make()
