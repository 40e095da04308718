#!/usr/bin/env python3
"""reference.py FOLDER: writes words with numpy in float64 and keeps what they look at in reference.txt,
which compare.cpp reads. FOLDER is where examples/transliterate/fetch.sh has put the models.

Where the matrices lie in the files is known of these files; the letters are those that the example has.
"""

import json
import pathlib
import re
import sys

import numpy as np

HERE = pathlib.Path(__file__).parent
LATIN = "srolanh sourkea angkor kampuchea phnompenh srey sok sabay battambang".split()
DEVANAGARI = "दिल्ली हिन्दुस्तान विश्वविद्यालय नमस्ते गांधी".split()


def at(path, offset, *shape):
    data = np.fromfile(path, "<f4", int(np.prod(shape)), offset=offset)
    return data.reshape(shape).astype(np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def letters_of(source, name):
    """The letters of examples/transliterate, which are those of the packages' tokenizers."""
    text = (HERE.parents[1] / "examples/transliterate" / source).read_text(encoding="utf-8")
    found = re.search(rf'constexpr std::string_view {name} =((?:\s*"(?:[^"\\]|\\.)*")+);', text)
    joined = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[1]))
    escapes = {"t": "\t", "n": "\n"}

    def meant(escape):
        return chr(int(escape[1], 16)) if escape[1] else escapes.get(escape[2], escape[2])

    return list(re.sub(r"\\(?:u([0-9A-F]{4})|(.))", meant, joined))


def padded(word, letters, length):
    ids = [letters.index(c) + 1 for c in word]
    return ids + [0] * (length - len(ids))


class Netra:
    def __init__(self, folder):
        f = folder / "netra.weights.h5"
        self.source, self.target = at(f, 12824, 28, 32), at(f, 18840, 81, 32)
        cell = lambda W, U, b: (at(f, W, 32, 192), at(f, U, 64, 192), at(f, b, 2, 192))
        self.forward, self.backward = cell(115376, 140552, 189976), cell(35304, 60480, 109904)
        self.decoder = cell(195544, 220720, 270144)
        self.keys, self.scale = (at(f, 275616, 128, 64), at(f, 308984, 64)), at(f, 311344, 64)
        self.output = at(f, 316384, 128, 81), at(f, 358456, 81)
        self.latin, self.khmer = letters_of("netra.cpp", "latin"), letters_of("netra.cpp", "khmer")

    @staticmethod
    def gru(x, h, cell):
        W, U, b = cell
        a, r = x @ W + b[0], h @ U + b[1]
        update, reset = sigmoid(a[:64] + r[:64]), sigmoid(a[64:128] + r[64:128])
        return update * h + (1 - update) * np.tanh(a[128:] + reset * r[128:])

    def states(self, xs, cell):
        h, out = np.zeros(64), []
        for x in xs:
            h = self.gru(x, h, cell)
            out.append(h)
        return out

    def write(self, word):
        xs = self.source[padded(word, self.latin, 25)]
        there, back = self.states(xs, self.forward), self.states(xs[::-1], self.backward)[::-1]
        keys = np.concatenate([there, back], 1) @ self.keys[0] + self.keys[1]
        h, last, written, looked = np.zeros(64), self.khmer.index("\t") + 1, "", []
        while len(looked) < 32:
            h = self.gru(self.target[last], h, self.decoder)
            looked.append(softmax(np.tanh(h + keys) @ self.scale))
            logits = np.concatenate([h, looked[-1] @ keys]) @ self.output[0] + self.output[1]
            last = int(logits.argmax())
            if last and self.khmer[last - 1] == "\n":
                break
            written += self.khmer[last - 1] if last else ""
        return written, np.array(looked)


class Indicate:
    def __init__(self, folder):
        e, d = folder / "indicate.encoder.data", folder / "indicate.decoder.data"
        self.source, self.target = at(e, 0, 166, 256), at(d, 0, 36, 256)
        self.encoder = at(e, 169984, 256, 4096), at(e, 4364288, 1024, 4096), at(e, 21141504, 4096)
        self.decoder = at(d, 184464, 1280, 4096), at(d, 21155984, 1024, 4096), at(d, 37933200, 4096)
        self.memory, self.combine = at(d, 37949584, 1024, 1024), at(d, 42143888, 2048, 1024)
        self.output = at(d, 36864, 1024, 36), at(d, 184320, 36)
        self.devanagari = letters_of("indicate.cpp", "devanagari")
        self.latin = letters_of("indicate.cpp", "latin")

    @staticmethod
    def lstm(x, h, c, cell):
        W, U, b = cell
        i, f, g, o = np.split(x @ W + h @ U + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c

    def write(self, word):
        h = c = np.zeros(1024)
        states = []
        for x in self.source[padded(word, self.devanagari, 47)]:
            h, c = self.lstm(x, h, c, self.encoder)
            states.append(h)
        states = np.array(states)
        keys = states @ self.memory
        h = c = fed = np.zeros(1024)
        last, written, looked = self.latin.index("^") + 1, "", []
        while len(looked) < 49:
            h, c = self.lstm(np.concatenate([self.target[last], fed]), h, c, self.decoder)
            looked.append(softmax(keys @ h))
            fed = np.concatenate([h, looked[-1] @ states]) @ self.combine
            last = int((fed @ self.output[0] + self.output[1]).argmax())
            if last and self.latin[last - 1] == "$":
                break
            written += self.latin[last - 1] if last else ""
        return written, np.array(looked)


def main():
    folder = pathlib.Path(sys.argv[1])
    netra, indicate = Netra(folder), Indicate(folder)
    with open(HERE / "reference.txt", "w", encoding="utf-8") as out:
        for model, words in ((netra, LATIN), (indicate, DEVANAGARI)):
            for word in words:
                written, weights = model.write(word)
                print(word, written, sep="\n", file=out)
                print(*(f"{w:.6g}" for w in weights.ravel()), file=out)
                print(word, written)


if __name__ == "__main__":
    main()
