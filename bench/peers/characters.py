"""A training step of examples/characters beside the same one in PyTorch: same sizes, batch, float32, one thread.

    python bench/peers/characters.py TOOL [--rounds N] [--steps N]

TOOL is the program characters_peer: `cmake --build build/examples --target characters_peer` in a Release build, as
examples/run.sh makes it. Python is that of build/peers/venv. A step is what a training repeats: a batch drawn from the text, the way forward, cross-entropy, the way back, clipping by the global norm, AdamW. Each
contestant is a process; they take turns of some steps. What counts is processor time of the thread, because a machine may
be shared; the best turn, and the median of turns. First all are asked for the losses of five steps from the same weights, on
one batch: they must agree, which they do only if they are the same model with the same gradients and optimiser.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from protocol import Child, PeerError

STEPS_THAT_AGREE = 5


def matrices_of(torch, path):
    """Of a safetensors file: its length, then what is in it as JSON, then numbers."""
    data = bytearray(Path(path).read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    head = json.loads(data[8:begin])
    head.pop("__metadata__", None)
    all = {}
    for name, about in head.items():
        first, last = about["data_offsets"]
        if last > first:  # weights that are left out have no numbers
            numbers = torch.frombuffer(data, dtype=torch.float32, offset=begin + first, count=(last - first) // 4)
            all[name] = numbers.view(about["shape"])
    return all


class Torch:
    """The model as one writes it: modules, scaled_dot_product_attention, the fused AdamW."""

    def __init__(self, sizes, mode):
        import torch
        from torch.nn import functional as F

        self.torch, self.F, nn = torch, F, torch.nn
        self.known, self.d, self.heads, self.hidden, self.layers, self.length, self.pieces = sizes
        d = self.d

        class Layer(nn.Module):
            def __init__(me):
                super().__init__()
                me.norm1, me.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
                me.qkv = nn.Linear(d, 3 * d, bias=False)
                me.out = nn.Linear(d, d, bias=False)
                me.up, me.down = nn.Linear(d, self.hidden), nn.Linear(self.hidden, d)

            def forward(me, x, cos, sin):
                n, t = x.shape[:2]
                q, k, v = me.qkv(me.norm1(x)).view(n, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
                seen = F.scaled_dot_product_attention(turned(q, cos, sin), turned(k, cos, sin), v, is_causal=True)
                x = x + me.out(seen.transpose(1, 2).reshape(n, t, d))
                return x + me.down(F.relu(me.up(me.norm2(x))))

        class Model(nn.Module):
            def __init__(me, cos, sin):
                super().__init__()
                me.tokens = nn.Embedding(self.known, d)
                me.stack = nn.ModuleList(Layer() for _ in range(self.layers))
                me.norm, me.output = nn.LayerNorm(d), nn.Linear(d, self.known)
                me.register_buffer("cos", cos)
                me.register_buffer("sin", sin)

            def forward(me, ids):
                x = me.tokens(ids)
                for layer in me.stack:
                    x = layer(x, me.cos, me.sin)
                return me.output(me.norm(x))

        def turned(x, cos, sin):
            """The first half of a head is paired with the second."""
            a, b = x.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

        w = d // self.heads
        angles = torch.arange(self.length)[:, None] / 10000 ** (torch.arange(0, w, 2) / w)
        self.model = Model(angles.cos(), angles.sin())
        if mode == "compiled":
            self.model = torch.compile(self.model, dynamic=False)
        matrices = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimiser = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
            lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.text = torch.randint(self.known, (100_000,))

    def load(self, path):
        """The weights of the other side: safetensors, matrices inputs × outputs."""
        torch, m = self.torch, getattr(self.model, "_orig_mod", self.model)
        w = {k.removeprefix("weights."): v for k, v in matrices_of(torch, path).items()}
        with torch.no_grad():
            m.tokens.weight.copy_(w["embedding.tokens"])
            for k, layer in enumerate(m.stack):
                at = lambda name: w[f"stack.layers.{k}.{name}"]
                layer.qkv.weight.copy_(torch.cat([at(f"self_attention.W{x}").T for x in "qkv"]))
                layer.out.weight.copy_(at("self_attention.Wo").T)
                for linear, number in ((layer.up, 1), (layer.down, 2)):
                    linear.weight.copy_(at(f"W{number}").T)
                    linear.bias.copy_(at(f"b{number}").flatten())
                for norm, number in ((layer.norm1, 1), (layer.norm2, 2)):
                    norm.weight.copy_(at(f"gain{number}").flatten())
                    norm.bias.copy_(at(f"bias{number}").flatten())
            m.norm.weight.copy_(w["stack.final_norm.gain"].flatten())
            m.norm.bias.copy_(w["stack.final_norm.bias"].flatten())
            m.output.weight.copy_(w["output.W"].T)
            m.output.bias.copy_(w["output.b"].flatten())

    def step(self, ids, wanted):
        loss = self.F.cross_entropy(self.model(ids).flatten(0, 1), wanted.flatten())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        return loss

    def drawn(self):
        at = self.torch.randint(len(self.text) - self.length, (self.pieces, 1)) + self.torch.arange(self.length)
        return self.text[at], self.text[at + 1]

    def answer(self, words):
        if words[0] == "losses":
            self.load(words[1])
            ids = self.torch.arange(self.pieces * self.length) * 37 % self.known
            wanted = (ids * 5 + 1) % self.known
            ids, wanted = (x.view(self.pieces, self.length) for x in (ids, wanted))
            return " ".join(f"{float(self.step(ids, wanted)):.6f}" for _ in range(STEPS_THAT_AGREE))
        steps = int(words[1])
        start = time.thread_time()
        for _ in range(steps):
            self.step(*self.drawn())
        return str((time.thread_time() - start) / steps)


def serve(mode, sizes):
    import torch

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    model = None
    for line in sys.stdin:
        try:
            model = model or Torch(sizes, mode)
            text = "ok " + model.answer(line.split())
        except Exception as error:  # named and left out
            text = "error " + " ".join(f"{type(error).__name__}: {error}".split())[:300]
        answers.write(text + "\n")
        answers.flush()


class Contestant:
    def __init__(self, name, command, core, log):
        self.name, self.child, self.seconds = name, Child(name, command, {core}, log), []

    def turn(self, steps):
        time.sleep(0.05)  # until the one before is still
        self.seconds.append(float(self.child.ask("time", steps)[0]))


def compare(args, log):
    sizes = subprocess.run([args.tool], capture_output=True, text=True, check=True).stdout.split()
    core = sorted(os.sched_getaffinity(0))[-1]
    first = Contestant("softlook", [args.tool, "serve"], core, log)
    contestants = [first]
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "weights.safetensors")
        expected = [float(x) for x in first.child.ask("losses", file)]
        print("losses of softlook:", *(f"{x:.5f}" for x in expected))
        for mode in args.modes:
            name = f"PyTorch {mode}"
            try:
                one = Contestant(name, [sys.executable, __file__, "child", mode, *sizes], core, log)
                losses = [float(x) for x in one.child.ask("losses", file)]
            except PeerError as error:
                print(f"{name} is left out: {error}", file=sys.stderr)
                continue
            if any(abs(a - b) > 2e-4 for a, b in zip(expected, losses)):
                raise SystemExit(f"{name} is another model: its losses are {losses}")
            contestants.append(one)
    for _ in range(args.rounds + 1):
        for one in contestants:
            one.turn(args.steps)
    best, middle = min(first.seconds[1:]), sorted(first.seconds[1:])[args.rounds // 2]
    print(f"| processor time of a step | best | median of {args.rounds} turns of {args.steps} steps | softlook is faster by |")
    print("|---|---|---|---|")
    for one in contestants:
        low, half = min(one.seconds[1:]), sorted(one.seconds[1:])[args.rounds // 2]
        print(f"| {one.name} | {1e3 * low:.2f} ms | {1e3 * half:.2f} ms | {low / best:.2f} (best), {half / middle:.2f} |", flush=True)
        one.child.end()


def main():
    if len(sys.argv) > 2 and sys.argv[1] == "child":
        return serve(sys.argv[2], [int(x) for x in sys.argv[3:]])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tool")
    parser.add_argument("--modes", nargs="+", default=["eager", "compiled"], choices=["eager", "compiled"])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    with open(os.environ.get("LOG", os.devnull), "w") as log, contextlib.suppress(KeyboardInterrupt):
        compare(args, log)


if __name__ == "__main__":
    main()
