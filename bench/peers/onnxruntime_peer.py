"""ONNX Runtime on the CPU: a child process of compare.py (protocol.py).

usage: onnxruntime_peer.py THREADS
"""

import sys

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import rows
from protocol import Prepared, serve

MICROSOFT = "com.microsoft"


class Graph:
    """Nodes, constants and inputs of a model, as they are added."""

    def __init__(self):
        self.nodes, self.constants, self.feeds = [], [], {}
        self.shared = {}  # outputs that are written into an input's memory

    def constant(self, name, value):
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def feed(self, name, value):
        self.feeds[name] = np.ascontiguousarray(value)
        return name

    def add(self, op, inputs, name, domain="", outputs=None, **attributes):
        outputs = outputs or [name]
        self.nodes.append(helper.make_node(op, inputs, outputs, name, domain=domain, **attributes))
        return outputs[0]

    def product(self, x, W, name):
        return self.add("MatMul", [x, self.constant(name + ".W", W)], name)

    def linear(self, x, W, b, name):
        product = self.product(x, W, name + ".product")
        return self.add("Add", [product, self.constant(name + ".b", b[0])], name)

    def model(self, output, shape):
        types = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("int32"): TensorProto.INT32}
        inputs = [
            helper.make_tensor_value_info(name, types[x.dtype], x.shape)
            for name, x in self.feeds.items()
        ]
        shapes = {output: shape, **{o: self.feeds[i].shape for o, i in self.shared.items()}}
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes.items()
        ]
        graph = helper.make_graph(self.nodes, "row", inputs, outputs, self.constants)
        sets = [helper.make_opsetid("", 20), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10).SerializeToString()


def attention_graph(row, x, op):
    """MultiHeadAttention or GroupQueryAttention, which have tiled kernels; heads side by side."""
    g = Graph()
    inputs = [g.feed(name, x[name][None]) for name in "QKV"]
    policy = row["policy"]
    if op == "gqa":
        length = np.int32(row["m"])
        inputs += [
            "",
            "",
            g.feed("last", np.array([length - 1], np.int32)),
            g.feed("length", np.array(length, np.int32)),
        ]
        window = row["window"] if policy == "window" else -1
        g.add(
            "GroupQueryAttention",
            inputs,
            "O",
            MICROSOFT,
            outputs=["O", "keys", "values"],
            num_heads=row["heads"],
            kv_num_heads=row["heads"],
            local_window_size=window,
        )
        return g
    if op == "mha-mask":
        mask = rows.additive_mask(row)
        mask = np.maximum(mask, np.finfo(np.float32).min)
        inputs += ["", "", g.constant("mask", mask.reshape(1, -1, row["n"], row["m"]))]
    g.add(
        "MultiHeadAttention",
        inputs,
        "O",
        MICROSOFT,
        num_heads=row["heads"],
        unidirectional=int(policy == "causal"),
    )
    return g


def cache_graph(row, x):
    """A step of decoding: the last key and value join a cache, which the outputs share."""
    g = Graph()
    inputs = [g.feed("Q", x["Q"][None]), *(g.feed(f"new{c}", x[c][None, -1:]) for c in "KV")]
    inputs += [g.feed(c, rows.by_head(x[c], row["heads"])) for c in "KV"]
    length = np.int32(row["m"])
    inputs += [
        g.feed("last", np.array([length - 1], np.int32)),
        g.feed("length", np.array(length, np.int32)),
    ]
    g.add(
        "GroupQueryAttention",
        inputs,
        "O",
        MICROSOFT,
        outputs=["O", "keys", "values"],
        num_heads=row["heads"],
        kv_num_heads=row["heads"],
    )
    g.shared = {"keys": "K", "values": "V"}
    return g


def additive_graph(x):
    g = Graph()
    Q, K, V = (g.feed(name, x[name]) for name in "QKV")
    q = g.add("MatMul", [Q, g.constant("Wq", x["Wq"])], "q")
    k = g.add("MatMul", [K, g.constant("Wk", x["Wk"])], "k")
    q = g.add("Unsqueeze", [q, g.constant("one", np.array([1]))], "q1")
    k = g.add("Unsqueeze", [k, g.constant("zero", np.array([0]))], "k1")
    pairs = g.add("Tanh", [g.add("Add", [q, k], "sum")], "tanh")
    scores = g.add("MatMul", [pairs, g.constant("v", x["v"][0])], "scores")
    g.add("MatMul", [g.add("Softmax", [scores], "weights", axis=-1), V], "O")
    return g


def encoder_graph(row, x):
    """The fused operators that ONNX Runtime's own optimiser of BERT models writes."""
    g = Graph()
    y = g.feed("X", x["X"][None])
    for k in range(row["layers"]):
        w = {name: x[name] for name in x if name.endswith(str(k))}
        qkv = [g.linear(y, w[f"W{c}{k}"], w[f"b{c}{k}"], f"{c}{k}") for c in "qkv"]
        attended = g.add(
            "MultiHeadAttention", qkv, f"attended{k}", MICROSOFT, num_heads=row["heads"]
        )
        out = g.product(attended, w[f"Wo{k}"], f"out{k}")
        y = skip_norm(g, y, out, [w[f"{name}{k}"] for name in ("gain1_", "bias1_", "bo")])
        up = g.product(y, w[f"W1_{k}"], f"up{k}")
        bias = g.constant(f"up{k}.b", w[f"b1_{k}"][0])
        up = g.add("BiasGelu", [up, bias], f"gelu{k}", MICROSOFT)
        down = g.product(up, w[f"W2_{k}"], f"down{k}")
        y = skip_norm(g, y, down, [w[f"{name}{k}"] for name in ("gain2_", "bias2_", "b2_")])
    g.add("Identity", [y], "O")
    return g


def skip_norm(g, x, y, gain_bias_skip):
    """Norm of x + y + skip."""
    name = "norm." + y
    constants = [g.constant(f"{name}.{k}", c[0]) for k, c in enumerate(gain_bias_skip)]
    return g.add("SkipLayerNormalization", [x, y, *constants], name, MICROSOFT, epsilon=1e-12)


class OnnxRuntime:
    def __init__(self, threads):
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1
        self.options.log_severity_level = 3

    def variants(self, row):
        if row["kind"] != "attention":
            return [row["kind"]]
        if row["n"] == 1:
            return ["mha", "gqa-cache"]
        return {
            "none": ["mha"],
            "causal": ["mha", "gqa"],
            "window": ["gqa", "mha-mask"],
            "alibi": ["mha-mask"],
        }[row["policy"]]

    def prepare(self, variant, row):
        x = rows.read_inputs(row)
        shape = (1, row["n"], row["heads"] * row["d"])
        if row["kind"] == "encoder":
            g, shape = encoder_graph(row, x), (1, row["n"], row["d"])
        elif row["kind"] == "additive":
            g, shape = additive_graph(x), (row["n"], row["d"])
        elif variant == "gqa-cache":
            g = cache_graph(row, x)
        else:
            g = attention_graph(row, x, variant)
        session = onnxruntime.InferenceSession(
            g.model("O", shape), self.options, providers=["CPUExecutionProvider"]
        )
        return self.bound(session, g, shape, row.get("copies", 1))

    @staticmethod
    def bound(session, g, shape, copies):
        """Inputs and output stay where they are: a call copies nothing."""
        kept = []  # an OrtValue does not own the memory of the array that it is made of

        def value(x):
            kept.append(x)
            return onnxruntime.OrtValue.ortvalue_from_numpy(x)

        output = value(np.zeros(shape, np.float32))
        fixed = {name: value(x) for name, x in g.feeds.items()}
        bindings = []
        for copy in range(copies):
            binding = session.io_binding()
            mine = {
                name: value(x.copy()) if copy and name in "KV" else fixed[name]
                for name, x in g.feeds.items()
            }
            for name, x in mine.items():
                binding.bind_ortvalue_input(name, x)
            for name, shared in g.shared.items():
                binding.bind_ortvalue_output(name, mine[shared])
            binding.bind_ortvalue_output("O", output)
            bindings.append(binding)
        turn = [0]

        def call():
            turn[0] = (turn[0] + 1) % copies
            session.run_with_iobinding(bindings[turn[0]])

        return Prepared(call, lambda: kept[0].reshape(shape[-2:]))


if __name__ == "__main__":
    serve(OnnxRuntime(int(sys.argv[1])))
