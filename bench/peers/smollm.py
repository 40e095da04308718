"""The language model of examples/smollm beside PyTorch with the same weights: 512 tokens read, 64 written.

    python bench/peers/smollm.py MODEL TOOL [--threads N...] [--rounds N]

MODEL is the GGUF file that examples/smollm/fetch.sh brings, TOOL the program smollm_tokens (built with the tests). Python
is that of build/peers/venv with the PyPI package gguf. Each contestant is a process; they take turns, the best of the
rounds counts. Each is first asked for the tokens of tests/smollm/greedy.txt, and how many lines are equal is in the table.
"""

import argparse
import contextlib
import os
import sys
import time
from pathlib import Path

from protocol import Child, PeerError

HERE = Path(__file__).resolve().parent
GREEDY = HERE.parent.parent / "tests" / "smollm" / "greedy.txt"
READ, WRITTEN = 512, 64
LINES = 4  # of greedy.txt: a sign that it is the same model, not a measure of how well it is kept
PROMPT = [1000 + k * 37 % 40000 for k in range(READ)]  # as in tests/smollm/tokens.cpp


class Torch:
    """The model of plain functions: products, scaled_dot_product_attention, keys and values kept in place."""

    def __init__(self, path, kind):
        import numpy as np
        import torch
        from gguf import GGUFReader
        from gguf.quants import dequantize

        self.torch = torch
        kept = torch.bfloat16 if kind == "bfloat16" else torch.float32
        reader = GGUFReader(path)
        field = lambda name: reader.fields["llama." + name].contents()
        self.layers, self.heads = field("block_count"), field("attention.head_count")
        self.kv, self.features = field("attention.head_count_kv"), field("embedding_length")
        self.size, self.epsilon = self.features // self.heads, field("attention.layer_norm_rms_epsilon")
        w = {t.name.removesuffix(".weight"): torch.from_numpy(
            dequantize(t.data, t.tensor_type).astype(np.float32)) for t in reader.tensors}

        def linear(*names):
            """Products of the same input as one."""
            weight = torch.cat([w[name] for name in names]).to(kept)
            module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
            module.weight = torch.nn.Parameter(weight, requires_grad=False)
            return module

        def layer(k):
            return torch.nn.ModuleDict({
                name: linear(*(f"blk.{k}.{part}" for part in parts)) for name, *parts in (
                    ("qkv", "attn_q", "attn_k", "attn_v"), ("out", "attn_output"),
                    ("up", "ffn_gate", "ffn_up"), ("down", "ffn_down"))})

        self.model = torch.nn.ModuleList([*(layer(k) for k in range(self.layers)), linear("token_embd")]).eval()
        if kind == "int8":
            self.model = torch.ao.quantization.quantize_dynamic(self.model, {torch.nn.Linear}, torch.qint8)
        self.norms = [[w[f"blk.{k}.{name}"].to(kept) for name in ("attn_norm", "ffn_norm")] for k in range(self.layers)]
        self.last = w["output_norm"].to(kept)
        self.vectors = w["token_embd"].to(kept)
        most = READ + 128
        angles = torch.arange(most)[:, None] / field("rope.freq_base") ** (
            torch.arange(0, self.size, 2) / self.size)
        self.cos, self.sin = angles.cos().to(kept), angles.sin().to(kept)
        self.memory = [[torch.zeros(1, self.kv, most, self.size, dtype=kept) for _ in "KV"] for _ in range(self.layers)]

    def turned(self, x, at):
        """Neighbours are the pairs."""
        a, b = x[..., 0::2], x[..., 1::2]
        cos, sin = self.cos[at], self.sin[at]
        return self.torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)

    def normed(self, x, gain):
        return self.torch.nn.functional.rms_norm(x, (self.features,), gain, self.epsilon)

    def next(self, ids, begin):
        """The likeliest token after these, which follow `begin` others."""
        F = self.torch.nn.functional
        x, n = self.vectors[ids], len(ids)
        at, end = slice(begin, begin + n), begin + n
        for k in range(self.layers):
            layer, (K, V) = self.model[k], self.memory[k]
            qkv = layer["qkv"](self.normed(x, self.norms[k][0])).view(n, -1, self.size).transpose(0, 1)[None]
            q, keys, V[:, :, at] = qkv.split((self.heads, self.kv, self.kv), 1)
            K[:, :, at] = self.turned(keys, at)
            seen = F.scaled_dot_product_attention(self.turned(q, at), K[:, :, :end], V[:, :, :end],
                                                  is_causal=n > 1, enable_gqa=True)
            x = x + layer["out"](seen[0].transpose(0, 1).reshape(n, -1))
            gate, up = layer["up"](self.normed(x, self.norms[k][1])).chunk(2, -1)
            x = x + layer["down"](F.silu(gate) * up)
        return int(self.model[-1](self.normed(x[-1:], self.last)).argmax())

    def greedy(self, ids, count):
        out, begin = [self.next(ids, 0)], len(ids)
        while len(out) < count:
            out.append(self.next(out[-1:], begin))
            begin += 1
        return out

    def answer(self, words):
        clock = time.perf_counter
        if words[0] == "greedy":
            return " ".join(map(str, self.greedy([int(x) for x in words[2:]], int(words[1]))))
        if words[0] == "read":
            start = clock()
            self.next(PROMPT, 0)
            return str(clock() - start)
        token = self.next(PROMPT[:16], 0)
        start = clock()
        for k in range(WRITTEN):
            token = self.next([token], 16 + k)
        return str((clock() - start) / WRITTEN)


def serve(path, kind, threads):
    import torch

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(threads)
    torch.set_num_interop_threads(1)
    with torch.inference_mode():
        model = None
        for line in sys.stdin:
            try:
                model = model or Torch(path, kind)
                text = "ok " + model.answer(line.split())
            except Exception as error:  # named and left out
                text = "error " + " ".join(f"{type(error).__name__}: {error}".split())[:300]
            answers.write(text + "\n")
            answers.flush()


def expected():
    lines = [line.split(":") for line in GREEDY.read_text().splitlines() if line and line[0] != "#"]
    return [(ids.split(), follow.split()) for ids, follow, _ in lines[:LINES]]


class Contestant:
    def __init__(self, name, command, cores, log):
        self.name, self.child = name, Child(name, command, cores, log)
        self.read, self.written, self.equal = [], [], 0
        for ids, follow in expected():
            self.equal += self.child.ask("greedy", len(follow), *ids) == follow

    def turn(self):
        time.sleep(0.05)  # until the threads of the one before have stopped waiting for work
        self.read.append(float(self.child.ask("read")[0]))
        self.written.append(float(self.child.ask("write")[0]))


def compare(args, threads, log):
    cores = set(sorted(os.sched_getaffinity(0))[:threads])
    contestants = []
    for name, command in [
        *((f"softlook {kind}", [args.tool, args.model, "serve", kind, str(threads)])
          for kind in ("exact", "bfloat16", "low:bfloat16", "int8", "low:int8")),
        *((f"PyTorch {kind}", [sys.executable, __file__, args.model, "child", kind, str(threads)])
          for kind in ("float32", "bfloat16", "int8")),
    ]:
        try:
            contestants.append(Contestant(name, command, cores, log))
        except PeerError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
    bandwidth = []
    for _ in range(args.rounds):
        for one in contestants:
            one.turn()
        bandwidth.append(float(contestants[0].child.ask("bandwidth")[0]))
    print(f"{threads} threads, memory read at {max(bandwidth) / 1e9:.2f} GB/s; best and median of {args.rounds} rounds")
    for one in contestants:
        read, written = (sorted(x) for x in (one.read, one.written))
        print(f"| {one.name} | {read[0]:.3f} s ({read[len(read) // 2]:.3f}) | {1e3 * written[0]:.2f} ms "
              f"({1e3 * written[len(written) // 2]:.2f}) | {one.equal} of {LINES} |", flush=True)
        one.child.end()


def main():
    if len(sys.argv) == 5 and sys.argv[2] == "child":
        return serve(sys.argv[1], sys.argv[3], int(sys.argv[4]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("tool")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=6)
    args = parser.parse_args()
    with open(os.environ.get("LOG", os.devnull), "w") as log, contextlib.suppress(KeyboardInterrupt):
        for threads in args.threads:
            compare(args, threads, log)


if __name__ == "__main__":
    main()
