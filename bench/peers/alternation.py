"""Rounds: all ways to run a row take turns, and what came of it."""

import os
import sys
import time
from importlib import metadata
from pathlib import Path
from statistics import median

import numpy as np

import rows
from protocol import Child, PeerError

HERE = Path(__file__).resolve().parent
PACKAGES = ["torch", "onnxruntime", "openvino"]
TOLERANCE = 1e-4  # of the largest output; peers' exponentials and sums differ by less than 1e-5
NEARLY_BEST = 1.4  # of a peer's variants only those within this factor of its best take turns
PAUSE = 0.02  # seconds until the threads of the runtime before have stopped waiting for work


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def version(package):
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def column_of(peer, variant):
    if peer != "torch":
        return peer
    return "torch.compile" if variant.startswith("compile/") else "torch"


class Runner:
    """One way to run a row: a child and the name of its variant."""

    def __init__(self, child, variant, compile_seconds):
        self.child, self.variant = child, variant
        self.column = column_of(child.name, variant)
        self.label = self.column + "/" + variant.removeprefix("compile/").removeprefix("eager/")
        self.compile_seconds = compile_seconds
        self.calls, self.means, self.fastest = 1, [], []

    def time(self):
        time.sleep(PAUSE)
        total, fastest = map(float, self.child.ask("time", self.variant, self.calls))
        return total / self.calls, fastest

    def calibrate(self, batch):
        """Calls for a batch of so many seconds, by the fastest call: a busy machine delays some."""
        self.estimate = float("inf")
        for share in (0.1, 0.5, 1):
            self.estimate = min(self.estimate, self.time()[1])
            self.calls = max(1, min(100000, int(share * batch / self.estimate)))

    def round(self):
        mean, fastest = self.time()
        self.means.append(mean)
        self.fastest.append(fastest)

    def keep_output(self, folder):
        path = Path(folder) / "output"
        self.child.ask("write", self.variant, path)
        self.output = np.fromfile(path, np.float32)

    def difference(self, truth):
        """The largest from `truth`; infinite where they cannot be compared."""
        if self.output.shape != truth.shape or not np.isfinite(self.output).all():
            return float("inf")
        return float(np.abs(self.output - truth).max())


class Comparison:
    """All peers with one number of threads."""

    def __init__(self, args, threads, cores, scratch):
        self.args, self.threads, self.problems = args, threads, []
        self.log = open(args.build / f"peers-{threads}.log", "w")
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(Path(scratch) / f"inductor-{threads}")
        # numpy asks for large pages and malloc does not: all take them, so that memory is alike.
        os.environ.setdefault("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
        self.softlook = self.start("softlook", [str(args.program)], cores)
        found = [name for name in PACKAGES if version(name)]
        self.peers = [
            self.start(name, [sys.executable, str(HERE / f"{name}_peer.py")], cores)
            for name in found
        ]

    def start(self, name, command, cores):
        return Child(name, [*command, str(self.threads)], cores, self.log)

    def problem(self, what, error):
        self.problems.append(f"{what}: {error}")
        say(f"  left out: {what}: {error}")

    def alive(self, child, error):
        """Names a peer whose process is gone, and asks it no more."""
        if child.process.poll() is None:
            return True
        self.problem(child.name, error)
        self.peers = [p for p in self.peers if p is not child]
        return False

    def runners(self, child, words, folder):
        """What of a peer runs this row, its output kept; what does not is named."""
        found, names = [], []
        try:
            names = child.ask("variants", *words)
        except PeerError as error:
            self.problem(child.name, error)
        for variant in names:
            try:
                seconds = float(child.ask("prepare", variant, *words)[0])
                runner = Runner(child, variant, seconds)
                runner.keep_output(folder)
                runner.calibrate(self.args.batch)
                found.append(runner)
            except PeerError as error:
                self.problem(f"{child.name}/{variant}", error)
                if not self.alive(child, error):
                    return []
        return found

    def run(self, name, row, folder):
        """The figures of a row."""
        rows.write_inputs(row, folder)
        words = [f"{key}={value}" for key, value in {**row, "inputs": folder}.items()]
        ours = self.runners(self.softlook, words, folder)
        theirs = [r for peer in list(self.peers) for r in self.runners(peer, words, folder)]
        if ours:
            self.alternate([*ours, *nearly_best(theirs)])
        if not ours or not ours[0].means:
            raise SystemExit(f"softlook cannot run the row: {name}; {self.log.name}")
        for peer in list(self.peers):
            try:
                peer.ask("drop")
            except PeerError as error:
                self.alive(peer, error)
        return figures(name, self.threads, ours[0], theirs)

    def alternate(self, runners):
        """Every other round backwards, so that nobody always follows the same neighbour."""
        for r in range(self.args.rounds):
            for runner in list(runners if r % 2 == 0 else reversed(runners)):
                try:
                    runner.round()
                except PeerError as error:
                    self.problem(runner.label, error)
                    self.alive(runner.child, error)
                    runner.means = []
                    runners.remove(runner)

    def end(self):
        for child in [self.softlook, *self.peers]:
            child.end()
        self.log.close()


def nearly_best(runners):
    best = {}
    for r in runners:
        best[r.column] = min(best.get(r.column, float("inf")), r.estimate)
    return [r for r in runners if r.estimate <= NEARLY_BEST * best[r.column]]


def figures(name, threads, ours, theirs):
    differences = {r.label: r.difference(ours.output) for r in theirs}
    allowed = TOLERANCE * float(np.abs(ours.output).max())
    result = {
        "row": name,
        "threads": threads,
        "softlook_ms": 1e3 * median(ours.means),
        "softlook_fastest_ms": 1e3 * min(ours.fastest),
        "softlook_times": ours.means,
        "difference_allowed": allowed,
        "disagree": [label for label, x in differences.items() if not x <= allowed],
        "peers": {},
    }
    for r in theirs:
        peer = {
            "column": r.column,
            "difference": differences[r.label],
            "compile_seconds": r.compile_seconds,
            "estimate_ms": 1e3 * r.estimate,
        }
        if r.means:
            peer |= {
                "ms": 1e3 * median(r.means),
                "fastest_ms": 1e3 * min(r.fastest),
                "times": r.means,
                "calls": r.calls,
                "ratio": median(t / o for t, o in zip(r.means, ours.means, strict=True)),
                "fastest_ratio": min(r.fastest) / min(ours.fastest),
            }
        result["peers"][r.label] = peer
    return result
