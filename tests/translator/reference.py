#!/usr/bin/env python3
"""reference.py FOLDER: translates sentences.txt with numpy and writes reference.txt, which compare.cpp
reads. FOLDER is where examples/translator/fetch.sh has put the models.

It shares nothing with the example: the file is read, the text is cut and the model is computed here
again, in float64, as the papers have it. Per sentence it writes the pair of languages, the source, the
translation, the tokens of both, the source token that each written token looked at most, and how much.
"""

import math
import pathlib
import struct
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
HEADS = 8


def read_marian(path):
    data = path.read_bytes()
    version, count = struct.unpack_from("<2Q", data)
    assert version == 1
    headers = [struct.unpack_from("<4Q", data, 16 + 32 * k) for k in range(count)]
    at = 16 + 32 * count
    names, shapes, tensors = [], [], {}
    for length, _, _, _ in headers:
        names.append(data[at : at + length].split(b"\0")[0].decode())
        at += length
    for _, _, extents, _ in headers:
        shapes.append(struct.unpack_from(f"<{extents}i", data, at))
        at += 4 * extents
    at += 8 + struct.unpack_from("<Q", data, at)[0]
    for name, shape, (_, kind, _, length) in zip(names, shapes, headers):
        size = math.prod(shape)
        if kind == 0x4101:  # integers, then their scale; weights lie column by column
            scale = struct.unpack_from("<f", data, at + size)[0]
            q = np.frombuffer(data, np.int8, size, at).astype(np.float32) / np.float32(scale)
            tensors[name] = q.reshape(shape) if name == "Wemb" else q.reshape(shape[::-1]).T
        elif kind == 0x0404:
            tensors[name] = np.frombuffer(data, "<f4", size, at).reshape(shape)
        at += length
    return {name: t.astype(np.float64) for name, t in tensors.items()}


def fields(data):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            length = varint()
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            size = 8 if tag & 7 == 1 else 4
            yield tag >> 3, data[at : at + size]
            at += size


def read_pieces(path):
    pieces = []
    for number, value in fields(path.read_bytes()):
        if number == 1:
            piece = {3: 1, 2: b"\0\0\0\0"} | dict(fields(value))
            pieces.append((piece[1].decode(), struct.unpack("<f", piece[2])[0], piece[3]))
    return pieces


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def positions(first, count, features):
    k = np.arange(features // 2)
    angles = np.arange(first, first + count)[:, None] * np.exp(-k * math.log(10000) / (len(k) - 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], 1)


class Model:
    def __init__(self, folder, pair):
        self.weights = read_marian(folder / f"model.{pair}.intgemm.alphas.bin")
        self.pieces = read_pieces(folder / f"vocab.{pair}.spm")
        self.scores = {text: (score, k) for k, (text, score, kind) in enumerate(self.pieces) if kind in (1, 4)}
        self.end = next(k for k, piece in enumerate(self.pieces) if piece[0] == "</s>")

    def encode(self, text):
        text = "\u2581" + "\u2581".join(text.split())
        best = [(0.0, 0, 0)] + [(-math.inf, 0, 0)] * len(text)
        longest = max(map(len, self.scores))
        for i in range(len(text)):
            assert best[i][0] > -math.inf, text  # no unknown characters here
            for j in range(i + 1, min(len(text), i + longest) + 1):
                if text[i:j] in self.scores:
                    score, k = self.scores[text[i:j]]
                    if best[i][0] + score > best[j][0]:
                        best[j] = (best[i][0] + score, i, k)
        ids, at = [], len(text)
        while at > 0:
            ids.append(best[at][2])
            at = best[at][1]
        return ids[::-1] + [self.end]

    def embedded(self, ids):
        words = self.weights["Wemb"]
        return words[ids] * math.sqrt(words.shape[1])

    def linear(self, x, part, name):
        return x @ self.weights[f"{part}_W{name}"] + self.weights[f"{part}_b{name}"][0]

    def norm(self, x, part):
        mean = x.mean(-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(-1, keepdims=True)
        gain, bias = self.weights[part + "_ln_scale"][0], self.weights[part + "_ln_bias"][0]
        return (x - mean) / np.sqrt(variance + 1e-6) * gain + bias

    def attend(self, x, memory, part):
        """norm(x + attention) and the weights, heads × n × m."""
        split = lambda y: y.reshape(len(y), HEADS, -1).swapaxes(0, 1)
        q = split(self.linear(x, part, "q"))
        k, v = (split(self.linear(memory, part, name)) for name in "kv")
        scores = q @ k.swapaxes(1, 2) / math.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        context = (weights @ v).swapaxes(0, 1).reshape(x.shape)
        return self.norm(x + self.linear(context, part, "o"), part + "_Wo"), weights

    def feed(self, x, part):
        return self.norm(x + self.linear(np.maximum(self.linear(x, part, "1"), 0), part, "2"), part + "_ffn")

    def layers(self, side):
        return range(1, sum(name.startswith(side) and name.endswith("_ffn_W1") for name in self.weights) + 1)

    def translate(self, ids):
        """The tokens of the greedy translation and what each looked at."""
        features = self.weights["Wemb"].shape[1]
        memory = self.embedded(ids) + positions(0, len(ids), features)
        for layer in self.layers("encoder"):
            memory, _ = self.attend(memory, memory, f"encoder_l{layer}_self")
            memory = self.feed(memory, f"encoder_l{layer}_ffn")
        cells = {layer: np.zeros((1, features)) for layer in self.layers("decoder")}
        before, tokens, looked = np.zeros((1, features)), [], []
        while len(tokens) < 3 * len(ids) + 8 and (not tokens or tokens[-1] != self.end):
            x = before + positions(len(tokens), 1, features)
            for layer in cells:
                part = f"decoder_l{layer}_"
                gate = sigmoid(self.linear(x, part + "rnn", "f"))
                cells[layer] = gate * cells[layer] + (1 - gate) * (x @ self.weights[part + "rnn_W"])
                x = self.norm(x + np.maximum(cells[layer], 0), part + "rnn_ffn")
                x, weights = self.attend(x, memory, part + "context")
                x = self.feed(x, part + "ffn")
            logits = x[0] @ self.weights["Wemb"].T + self.weights["decoder_ff_logit_out_b"][0]
            tokens.append(int(logits.argmax()))
            looked.append(weights[0, 0])
            before = self.embedded(tokens[-1:])
        return tokens, looked

    def text(self, ids):
        return "".join(self.pieces[k][0] for k in ids if k != self.end).replace("\u2581", " ").strip()


def main():
    folder = pathlib.Path(sys.argv[1])
    models = {pair: Model(folder, pair) for pair in ("enpt", "pten")}
    with open(HERE / "reference.txt", "w", encoding="utf-8") as out:
        for line in (HERE / "sentences.txt").read_text(encoding="utf-8").splitlines():
            pair, source = line.split(" ", 1)
            model = models[pair]
            ids = model.encode(source)
            tokens, looked = model.translate(ids)
            print(pair, source, model.text(tokens), sep="\n", file=out)
            print(*ids, file=out)
            print(*tokens, file=out)
            print(*(int(w.argmax()) for w in looked), file=out)
            print(*(f"{w.max():.6f}" for w in looked), file=out)
            print(source, "|", model.text(tokens))


if __name__ == "__main__":
    main()
