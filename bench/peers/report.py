"""What is printed, written and drawn of the figures."""

import json

import chart
from alternation import PACKAGES, version

COLUMNS = ["torch", "torch.compile", "onnxruntime", "openvino"]


def best_of(result, column=None):
    """The peer's variant (of a column, or of all) with the least ratio: (name, figures) or None."""
    timed = [
        (label, p)
        for label, p in result["peers"].items()
        if "ratio" in p and column in (None, p["column"]) and label not in result["disagree"]
    ]
    return min(timed, key=lambda x: x[1]["ratio"], default=None)


def number(x):
    return f"{x:.4f}" if x < 0.1 else f"{x:.3f}" if x < 10 else f"{x:.1f}"


def table(results):
    """Lines of the table: milliseconds, and in brackets the ratio to softlook."""
    lines = [["row", "threads", "softlook", *COLUMNS, "to the best", "fastest calls", "best peer"]]
    for r in results:
        cells = []
        for column in COLUMNS:
            best = best_of(r, column)
            cells.append(f"{number(best[1]['ms'])} ({best[1]['ratio']:.2f})" if best else "-")
        best = best_of(r)
        last = 3 * ["-"]
        if best:
            last = [f"{best[1]['ratio']:.2f}", f"{best[1]['fastest_ratio']:.2f}", best[0]]
        lines.append([r["row"], str(r["threads"]), number(r["softlook_ms"]), *cells, *last])
    widths = [max(len(line[c]) for line in lines) for c in range(len(lines[0]))]
    padded = []
    for first, *middle, last in lines:
        cells = [x.rjust(w) for x, w in zip(middle, widths[1:-1], strict=True)]
        padded.append("  ".join([first.ljust(widths[0]), *cells, last]))
    return padded


def label_of(result):
    return f"{result['row']}, {result['threads']} thread{'s' if result['threads'] > 1 else ''}"


def lines_of(args, results, problems):
    """The table, and below it what took time to compile, what is missing and what disagrees."""
    yield f"milliseconds a call (ratio to softlook); medians of {args.rounds} rounds"
    yield from table(results)
    for r in results:
        for label, p in r["peers"].items():
            if p["compile_seconds"]:
                seconds = f"{p['compile_seconds']:.1f} s"
                yield f"compiling, not counted: {seconds}: {label}, {label_of(r)}"
    shared = [r for r in results if r["front_end"] < 0.75]
    if shared:
        worst = min(r["front_end"] for r in shared)
        yield (f"SHARED CORE: beside {len(shared)} of {len(results)} rows another thread took a part of the "
               f"front end (a taken branch in {worst:.2f} of the cycles at worst; 1 alone)")
    for name in PACKAGES:
        if not version(name):
            yield f"left out: {name} is not installed"
    for line in problems:
        yield f"left out: {line}"
    for r in results:
        for label in r["disagree"]:
            difference = r["peers"][label]["difference"]
            yield f"DISAGREES by {difference:.2e}: {label}, {label_of(r)}"


def report(args, about, results, problems):
    """Prints the table, writes the figures and the drawing. True when all outputs agree."""
    print("\n".join(lines_of(args, results, problems)))
    all_figures = {**about, "rounds": args.rounds, "problems": problems, "rows": results}
    for path in filter(None, (args.build / "results.json", args.json)):
        path.write_text(json.dumps(all_figures, indent=1) + "\n")
    bars = []
    for r in results:
        best = {c: best_of(r, c) for c in COLUMNS}
        bars.append((label_of(r), {c: x[1]["ratio"] for c, x in best.items() if x}))
    (args.build / "ratios.svg").write_text(chart.bar_chart(bars, COLUMNS))
    return not any(r["disagree"] for r in results)
