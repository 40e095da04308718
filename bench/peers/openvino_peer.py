"""OpenVINO on the CPU: a child process of compare.py (protocol.py).

usage: openvino_peer.py THREADS
"""

import collections
import os
import sys

import numpy as np
import openvino
from openvino import opset13 as op

import rows
from protocol import Prepared, serve


def parameter(value, name):
    node = op.parameter(value.shape, np.float32, name)
    node.output(0).set_names({name})
    return node


def attention_model(row, x, packed):
    """The fused operator: on heads x n x d, or on heads side by side, transposed in the model."""
    if packed:
        x = {k: v.reshape(1, v.shape[0], row["heads"], row["d"]) for k, v in x.items()}
    else:
        x = {k: rows.by_head(v, row["heads"]) for k, v in x.items()}
    feeds = [parameter(x[name], name) for name in "QKV"]
    order = op.constant([0, 2, 1, 3])
    inputs = [op.transpose(p, order) for p in feeds] if packed else list(feeds)
    if row["policy"] in ("window", "alibi"):
        mask = rows.additive_mask(row)
        inputs.append(op.constant(mask.reshape(1, -1, row["n"], row["m"])))
    output = op.scaled_dot_product_attention(*inputs, causal=row["policy"] == "causal")
    return openvino.Model([op.transpose(output, order) if packed else output], feeds), x


def additive_model(row, x):
    feeds = [parameter(x[name], name) for name in "QKV"]
    q = op.unsqueeze(op.matmul(feeds[0], op.constant(x["Wq"]), False, False), op.constant([1]))
    k = op.unsqueeze(op.matmul(feeds[1], op.constant(x["Wk"]), False, False), op.constant([0]))
    pairs = op.tanh(op.add(q, k))
    scores = op.squeeze(op.matmul(pairs, op.constant(x["v"]), False, True), op.constant([2]))
    return openvino.Model([op.matmul(op.softmax(scores, 1), feeds[2], False, False)], feeds), x


def encoder_model(row, x):
    def linear(y, W, b):
        return op.add(op.matmul(y, op.constant(x[W]), False, False), op.constant(x[b]))

    def norm(y, number, k):
        y = op.mvn(y, op.constant([-1]), True, 1e-12, "INSIDE_SQRT")
        y = op.multiply(y, op.constant(x[f"gain{number}_{k}"][None]))
        return op.add(y, op.constant(x[f"bias{number}_{k}"][None]))

    feed = y = parameter(x["X"][None], "X")
    order, split = op.constant([0, 2, 1, 3]), op.constant([0, 0, row["heads"], -1])
    for k in range(row["layers"]):
        heads = [
            op.transpose(op.reshape(linear(y, f"W{c}{k}", f"b{c}{k}"), split, True), order)
            for c in "qkv"
        ]
        attended = op.transpose(op.scaled_dot_product_attention(*heads), order)
        attended = op.reshape(attended, op.constant([0, 0, row["d"]]), True)
        y = norm(op.add(y, linear(attended, f"Wo{k}", f"bo{k}")), 1, k)
        up = op.gelu(linear(y, f"W1_{k}", f"b1_{k}"), "erf")
        y = norm(op.add(y, linear(up, f"W2_{k}", f"b2_{k}")), 2, k)
    return openvino.Model([y], [feed]), {"X": x["X"][None]}


def primitives(compiled):
    """How often its execution graph takes which kernel: those of MLAS heed no switch."""
    kinds = collections.Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        info = {key: node.get_rt_info()[key].astype(str) for key in ("layerType", "primitiveType")}
        if not info["primitiveType"].startswith("unknown"):
            kinds[info["primitiveType"]] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())


class OpenVino:
    def __init__(self, threads):
        self.core = openvino.Core()
        # Without the hint, machines with bfloat16 instructions compute in bfloat16.
        self.settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "ENABLE_CPU_PINNING": False,
        }

    def variants(self, row):
        if row["kind"] != "attention":
            return [row["kind"]]
        return ["sdpa", "sdpa-packed"] if row["heads"] > 1 else ["sdpa"]

    def prepare(self, variant, row):
        x = rows.read_inputs(row)
        if row["kind"] == "encoder":
            model, feeds = encoder_model(row, x)
        elif row["kind"] == "additive":
            model, feeds = additive_model(row, x)
        else:
            model, feeds = attention_model(row, x, variant == "sdpa-packed")
        compiled = self.core.compile_model(model, "CPU", self.settings)
        if os.environ.get("SOFTLOOK_PEER_SET"):
            print(f"  openvino runs {row['kind']} by {primitives(compiled)}", file=sys.stderr)
        used = {name for p in compiled.inputs for name in p.names}
        return self.bound(compiled, {k: v for k, v in feeds.items() if k in used}, row, variant)

    @staticmethod
    def bound(compiled, feeds, row, variant):
        """A request for each copy of K and V, with its inputs set: a call copies nothing."""
        requests = []
        for _ in range(row.get("copies", 1)):
            request = compiled.create_infer_request()
            for name, value in feeds.items():
                request.set_tensor(name, openvino.Tensor(value.copy()))
            requests.append(request)
        turn = [0]

        def call():
            turn[0] = (turn[0] + 1) % len(requests)
            requests[turn[0]].infer(share_inputs=True)

        def output():
            y = requests[turn[0]].get_output_tensor(0).data
            if variant == "sdpa":
                return rows.packed(y)
            return y.reshape(row["n"], -1)

        return Prepared(call, output)


if __name__ == "__main__":
    serve(OpenVino(int(sys.argv[1])))
