"""Compares examples/smollm with other people's code. Takes numpy, and the PyPI packages gguf and tokenizers.

    python3 tests/smollm/compare.py tokens MODEL TOOL [COUNT]   texts, cut by `tokenizers` and by TOOL
    python3 tests/smollm/compare.py reference MODEL > tests/smollm/greedy.txt
                                                                what a float model in numpy says after PROMPTS
    python3 tests/smollm/compare.py greedy MODEL TOOL KIND      the same from TOOL, first differences with margins

MODEL is the GGUF file, TOOL the program smollm_tokens."""

import os
import random
import subprocess
import sys
import unicodedata

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

GREEDY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "greedy.txt")
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
COUNT = 32
PROMPTS = [
    "What is the capital of France?", "Why is the sky blue?", "Write a haiku about the sea.",
    "Name three colours.", "How do bees make honey?", "What is 12 plus 30?", "Tell me a joke about cats.",
    "Explain gravity to a child.", "Who wrote Hamlet?", "List the days of the week.",
    "What does a computer do?", "Translate 'good morning' into Spanish.", "What is the largest planet?",
    "Give me a recipe for pancakes.", "Why do leaves fall in autumn?", "What is attention in a neural network?",
    "Write a C++ function that adds two numbers.", "What is the boiling point of water?",
    "Describe a sunset in one sentence.", "How many legs does a spider have?", "What is a prime number?",
    "Summarise the story of Romeo and Juliet.", "How does a bicycle stay upright?", "What year did the Titanic sink?",
]


def library_tokenizer(reader):
    """The vocabulary of the file in the package tokenizers, put together as the model's tokenizer.json does."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    fields = reader.fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    made = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    made.add_special_tokens([AddedToken(t, normalized=False, special=True)
                             for t, kind in zip(tokens, types) if kind in (3, 4)])
    return made


def texts(count):
    """Sentences, code, spaces of all kinds, other scripts, special tokens, random characters."""
    draw = random.Random(3041)
    known = [chr(c) for c in range(0x20, 0x30000)
             if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    words = ("the quick brown fox don't I'll we've it's they're I'm he'd 'tis isn't 42 3.14 1,000 x2 2x "
             "naïve café Straße Привет мир 東京 こんにちは مرحبا नमस्ते ½ ² ① Ⅷ ٣ 😀 👩‍👩‍👧 é e\u0301 "
             "<|im_start|> <|im_end|> <|endoftext|> <|im_ |> !!! ... -- == != #include <vector> "
             "\\frac{1}{2} http://a.b/c?d=e&f=g snake_case CamelCase").split(" ")
    gaps = [" "] * 8 + ["  ", "   ", "\n", "\n\n", " \n", "\n ", "\t", "\t\t", "\r\n", "\u00a0", "\u3000", "\u2009 ", "", ""]
    out = ["", " ", "  ", "\n", "a", " a", "a ", "1", " 1", "1 ", "\x00", "a\x00b"[:1]]
    while len(out) < count:
        kind = draw.random()
        if kind < 0.6:
            out.append("".join(draw.choice(words) + draw.choice(gaps) for _ in range(draw.randrange(1, 12))))
        elif kind < 0.8:
            out.append("".join(draw.choice(known[:2000]) for _ in range(draw.randrange(1, 30))))
        else:
            out.append("".join(draw.choice(known) for _ in range(draw.randrange(1, 30))))
    return [t for t in out if "\0" not in t]


def run(tool, model, arguments, given):
    done = subprocess.run([tool, model] + arguments, input=given, capture_output=True, check=True)
    return [[int(i) for i in line.split()] for line in done.stdout.decode().splitlines()]


def compare_tokens(model, tool, count):
    reference = library_tokenizer(GGUFReader(model))
    given = texts(count)
    found = run(tool, model, ["encode"], "".join(t + "\0" for t in given).encode())
    assert len(found) == len(given), (len(found), len(given))
    faults = 0
    for text, ids in zip(given, found):
        expected = reference.encode(text, add_special_tokens=False).ids
        if ids != expected:
            faults += 1
            if faults <= 10:
                print(f"{text!r}\n  {ids}\n  {expected}")
    print(f"{len(given)} texts, {faults} differ")
    return faults == 0


class FloatModel:
    """The model in numpy, all numbers in float32."""

    def __init__(self, reader):
        self.of = {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in reader.tensors}
        number = lambda key: reader.fields["llama." + key].contents()
        self.layers, self.heads = number("block_count"), number("attention.head_count")
        self.kv = number("attention.head_count_kv")
        self.size = number("embedding_length") // self.heads
        self.epsilon = np.float32(number("attention.layer_norm_rms_epsilon"))
        self.frequencies = 1 / number("rope.freq_base") ** (np.arange(0, self.size, 2) / self.size)

    def start(self):
        return [(np.zeros((0, self.kv, self.size), np.float32),) * 2 for _ in range(self.layers)]

    def norm(self, x, gain):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon) * gain

    def turned(self, x, positions):
        angle = positions[:, None] * self.frequencies
        cos, sin = np.cos(angle)[:, None].astype(np.float32), np.sin(angle)[:, None].astype(np.float32)
        y = np.empty_like(x)
        y[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        y[..., 1::2] = x[..., 1::2] * cos + x[..., 0::2] * sin
        return y

    def next(self, ids, cache):
        """Scores of what follows; the cache is extended."""
        x, n = self.of["token_embd.weight"][ids], len(ids)
        at = len(cache[0][0]) + np.arange(n)
        for l in range(self.layers):
            weight = lambda name: self.of[f"blk.{l}.{name}.weight"]
            seen = self.norm(x, weight("attn_norm"))
            heads = lambda name, count: (seen @ weight(name).T).reshape(n, count, self.size)
            q = self.turned(heads("attn_q", self.heads), at)
            k = np.concatenate([cache[l][0], self.turned(heads("attn_k", self.kv), at)])
            v = np.concatenate([cache[l][1], heads("attn_v", self.kv)])
            cache[l] = (k, v)
            group = self.heads // self.kv
            s = np.einsum("qhd,khd->hqk", q, np.repeat(k, group, 1)) / np.float32(np.sqrt(self.size))
            s = np.where(np.arange(len(k)) <= at[:, None], s, -np.inf).astype(np.float32)
            p = np.exp(s - s.max(-1, keepdims=True))
            p /= p.sum(-1, keepdims=True)
            x = x + np.einsum("hqk,khd->qhd", p, np.repeat(v, group, 1)).reshape(n, -1) @ weight("attn_output").T
            h = self.norm(x, weight("ffn_norm"))
            gate = h @ weight("ffn_gate").T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ weight("ffn_up").T)) @ weight("ffn_down").T
        return self.norm(x[-1], self.of["output_norm.weight"]) @ self.of["token_embd.weight"].T


def write_reference(model):
    reader = GGUFReader(model)
    tokenizer, floats = library_tokenizer(reader), FloatModel(reader)
    print("# Written by tests/smollm/compare.py: ids of a prompt : the likeliest ids that follow : by how much the score")
    print("# of each is above the next one")
    for prompt in PROMPTS:
        text = (f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n"
                "<|im_start|>assistant\n")
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        cache = floats.start()
        scores, out, margins = floats.next(ids, cache), [], []
        while True:
            first, second = np.argsort(-scores, kind="stable")[:2]
            out.append(int(first))
            margins.append(float(scores[first] - scores[second]))
            if len(out) == COUNT:
                break
            scores = floats.next([out[-1]], cache)
        print(" ".join(map(str, ids)), ":", " ".join(map(str, out)), ":", " ".join(f"{m:.4f}" for m in margins),
              flush=True)


def compare_greedy(model, tool, kind):
    done = subprocess.run([tool, model, "check", kind, GREEDY])
    return done.returncode == 0


def main():
    what, model = sys.argv[1:3]
    if what == "tokens":
        return compare_tokens(model, sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 5000)
    if what == "greedy":
        return compare_greedy(model, sys.argv[3], sys.argv[4])
    write_reference(model)
    return True


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
