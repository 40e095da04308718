"""PyTorch on the CPU, eager and compiled: a child process of compare.py (protocol.py).

usage: torch_peer.py THREADS
"""

import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

import rows
from protocol import Prepared, serve


def with_compile_time(function, *inputs):
    """A compiled function and the seconds its first call took."""
    start = time.perf_counter()
    compiled = torch.compile(function, fullgraph=True, dynamic=False)
    compiled(*inputs)
    return compiled, time.perf_counter() - start


class Attention:
    """One row: the same inputs in several layouts, and the ways to compute it."""

    def __init__(self, row):
        self.row, self.turn = row, 0
        x = {k: torch.from_numpy(v) for k, v in rows.read_inputs(row).items()}
        self.packed = x
        self.Q = self.heads_of(x["Q"]).contiguous()
        K, V = (self.heads_of(x[k]).contiguous() for k in "KV")
        self.memories = [(K.clone(), V.clone()) for _ in range(row["copies"])]

    def heads_of(self, x):
        return x.view(1, x.shape[0], self.row["heads"], self.row["d"]).transpose(1, 2)

    def next(self):
        self.turn = (self.turn + 1) % len(self.memories)
        return self.memories[self.turn]

    def prepared(self, function, seconds=0.0):
        result = [None]

        def call():
            result[0] = function(self.Q, *self.next())

        return Prepared(call, lambda: rows.packed(result[0].numpy()), seconds)

    def mask(self):
        if self.row["policy"] in ("none", "causal"):
            return None
        mask = torch.from_numpy(rows.additive_mask(self.row))
        return mask.expand(1, self.row["heads"], -1, -1)

    def sdpa(self):
        mask, causal = self.mask(), self.row["policy"] == "causal"

        def function(Q, K, V):
            return F.scaled_dot_product_attention(Q, K, V, attn_mask=mask, is_causal=causal)

        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):  # raises where the fast path is not taken
            function(self.Q, *self.next())
        return self.prepared(function)

    def sdpa_packed(self):
        """Heads side by side, as projections leave them: views, no copies."""
        self.Q = self.heads_of(self.packed["Q"])
        self.memories = [tuple(self.heads_of(self.packed[k]) for k in "KV")]
        return self.sdpa()

    def matmul(self):
        """The formula; the fastest for few queries."""
        scale = self.row["d"] ** -0.5
        return self.prepared(lambda Q, K, V: torch.softmax(Q @ K.mT * scale, -1) @ V)

    def flex(self, block=128):
        row, slopes = self.row, torch.from_numpy(rows.slopes(self.row["heads"]))
        score, block_mask = None, None
        if row["policy"] == "alibi":

            def score(s, b, h, i, j):
                return s - slopes[h] * (i - j).abs()

        if row["policy"] in ("causal", "window"):
            width = row.get("window", row["n"] + row["m"])
            block_mask = create_block_mask(
                lambda b, h, i, j: (j <= i) & (i - j < width),
                1,
                1,
                row["n"],
                row["m"],
                device="cpu",
                BLOCK_SIZE=block,
            )

        def function(Q, K, V):
            return flex_attention(Q, K, V, score_mod=score, block_mask=block_mask)

        return self.prepared(*with_compile_time(function, self.Q, *self.next()))


class Additive:
    def __init__(self, row):
        x = {k: torch.from_numpy(v) for k, v in rows.read_inputs(row).items()}
        self.inputs = x["Q"], x["K"], x["V"], x["Wq"], x["Wk"], x["v"][0]

    @staticmethod
    def formula(Q, K, V, Wq, Wk, v):
        scores = torch.tanh((Q @ Wq)[:, None, :] + (K @ Wk)[None, :, :]) @ v
        return torch.softmax(scores, -1) @ V

    @staticmethod
    def summed(Q, K, V, Wq, Wk, v):
        """The product with v as a sum, which the compiler fuses: no n x m x a is stored."""
        scores = (torch.tanh((Q @ Wq)[:, None, :] + (K @ Wk)[None, :, :]) * v).sum(-1)
        return torch.softmax(scores, -1) @ V

    def prepared(self, function, seconds=0.0):
        result = [None]

        def call():
            result[0] = function(*self.inputs)

        return Prepared(call, lambda: result[0].numpy(), seconds)


class Layer(torch.nn.Module):
    """An encoder layer of plain modules around scaled_dot_product_attention."""

    def __init__(self, row, weights):
        super().__init__()
        self.heads = row["heads"]
        linear = {}
        for name, W, b in (
            ("qkv", ("Wq", "Wk", "Wv"), ("bq", "bk", "bv")),
            ("out", ("Wo",), ("bo",)),
            ("up", ("W1_",), ("b1_",)),
            ("down", ("W2_",), ("b2_",)),
        ):
            W = torch.cat([weights(w).T for w in W]).contiguous()
            linear[name] = module = torch.nn.Linear(W.shape[1], W.shape[0])
            module.weight.data, module.bias.data = W, torch.cat([weights(x)[0] for x in b])
        self.linear = torch.nn.ModuleDict(linear)
        self.norm1, self.norm2 = (torch.nn.LayerNorm(row["d"], 1e-12) for _ in range(2))
        for norm, number in ((self.norm1, 1), (self.norm2, 2)):
            norm.weight.data = weights(f"gain{number}_")[0]
            norm.bias.data = weights(f"bias{number}_")[0]

    def forward(self, x):
        qkv = self.linear["qkv"](x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.linear["out"](attended))
        return self.norm2(x + self.linear["down"](F.gelu(self.linear["up"](x))))


class Encoder:
    def __init__(self, row):
        self.row = row
        self.x = {k: torch.from_numpy(v) for k, v in rows.read_inputs(row).items()}
        self.input = self.x["X"][None]
        self.modules = torch.nn.Sequential(
            *(Layer(row, lambda name, k=k: self.x[f"{name}{k}"]) for k in range(row["layers"]))
        ).eval()

    def prepared(self, function, seconds=0.0):
        result = [None]

        def call():
            result[0] = function(self.input)

        return Prepared(call, lambda: result[0][0].numpy(), seconds)

    def transformer(self):
        """torch.nn.TransformerEncoder, which takes its fused fast path in inference."""
        row = self.row
        layer = torch.nn.TransformerEncoderLayer(
            row["d"], row["heads"], row["hidden"], 0.0, "gelu", 1e-12, batch_first=True
        )
        stack = torch.nn.TransformerEncoder(layer, row["layers"], enable_nested_tensor=False).eval()
        for to, of in zip(stack.layers, self.modules, strict=True):
            to.self_attn.in_proj_weight.data = of.linear["qkv"].weight.data
            to.self_attn.in_proj_bias.data = of.linear["qkv"].bias.data
            pairs = (
                (to.self_attn.out_proj, of.linear["out"]),
                (to.linear1, of.linear["up"]),
                (to.linear2, of.linear["down"]),
                (to.norm1, of.norm1),
                (to.norm2, of.norm2),
            )
            for mine, other in pairs:
                mine.weight.data, mine.bias.data = other.weight.data, other.bias.data
        return self.prepared(stack)


class Torch:
    def variants(self, row):
        if row["kind"] == "additive":
            return ["eager/formula", "compile/formula", "compile/sum"]
        if row["kind"] == "encoder":
            return ["eager/modules", "eager/nn.TransformerEncoder", "compile/modules"]
        if row["policy"] == "window":
            return ["eager/sdpa-mask", "compile/flex-32", "compile/flex-64"]
        if row["policy"] == "alibi":
            return ["eager/sdpa-mask", "compile/flex"]
        names = ["eager/sdpa"]
        if row["heads"] > 1:
            names.append("eager/sdpa-packed")
        if row["n"] <= 64:
            names.append("eager/matmul")
        if row["policy"] == "causal":
            names.append("compile/flex")
        return names

    def prepare(self, variant, row):
        mode, name = variant.split("/")
        if row["kind"] == "additive":
            work = Additive(row)
            function = work.formula if name == "formula" else work.summed
            if mode == "eager":
                return work.prepared(function)
            return work.prepared(*with_compile_time(function, *work.inputs))
        if row["kind"] == "encoder":
            work = Encoder(row)
            if variant == "compile/modules":
                return work.prepared(*with_compile_time(work.modules, work.input))
            return work.prepared(work.modules) if name == "modules" else work.transformer()
        work = Attention(row)
        return {
            "sdpa": work.sdpa,
            "sdpa-mask": work.sdpa,
            "sdpa-packed": work.sdpa_packed,
            "matmul": work.matmul,
            "flex": work.flex,
            "flex-32": lambda: work.flex(32),
            "flex-64": lambda: work.flex(64),
        }[name]()


if __name__ == "__main__":
    threads = int(sys.argv[1])
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    torch._inductor.config.freezing = True  # weights are packed once, as inference may
    torch._inductor.config.force_disable_caches = True  # compile times are of a first compilation
    torch._dynamo.config.cache_size_limit = 64
    with torch.inference_mode():
        serve(Torch())
