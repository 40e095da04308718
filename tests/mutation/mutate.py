#!/usr/bin/env python3
"""Mutation testing of masks, transforms, kernels and what runs them.

Each mutant is one change in one line of a header: an operator, a bound, a constant, a sign, a condition, a statement
left out. It is compiled into a small program of tests (a killer), and is killed when that program fails, crashes or does
not end. Mutants that cannot be told from the original are listed in equivalent.txt with the reason. Ends with status 1
if another one survives.

    tests/mutation/mutate.py [--count N] [--seed S] [--only PART_OF_A_PATH] [--jobs J] [--out FOLDER] [--list]
"""

import argparse
import concurrent.futures
import difflib
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADERS = os.path.join(ROOT, "include", "softlook")
ROOM = "engine/stamped/"

# (files, what they are compiled into): the files of a row are mutated equally often for their length.
KERNELS = [ROOM + "softmax/" + name + ".inl" for name in (
    "online_softmax", "softmax_state", "tile_walk", "tiled_forward", "tiles", "few_queries", "few_scores", "few_stored",
    "dropout", "tiled_backward", "backward_rows", "additive_scores")] + [
    ROOM + "gemm/" + name + ".inl" for name in ("micro_kernel", "pack", "rows", "finite")] + [
    ROOM + "simd/math.inl", ROOM + "simd/stored.inl"]
ENGINE = [ROOM + "softmax/edit.inl"] + ["engine/kernels/" + n + ".hpp" for n in ("frame", "edits", "row_source", "policy_calls")] + [
    "engine/run/" + n + ".hpp" for n in ("plan", "tasks", "run_attention", "latin_square", "sequences", "score_inputs",
                                        "sinks", "run_backward", "dropped_weights", "materialised")]
TRANSFORMS = ["transform/transforms.hpp"]


def mask_headers():
    found = []
    for folder in ("mask", "mask/detail"):
        for name in sorted(os.listdir(os.path.join(HEADERS, folder))):
            if name.endswith(".hpp") and name != "patterns.hpp":  # its test compiles all kernels
                found.append(folder + "/" + name)
    return found


def blanked(line):
    """The line with comments and strings as spaces."""
    out, quote, k = [], None, 0
    while k < len(line):
        c = line[k]
        if quote:
            out.append(" ")
            if c == "\\":
                out.append(" ")
                k += 1
            elif c == quote:
                quote = None
        elif c == '"' or (c == "'" and (k == 0 or not line[k - 1].isalnum())):
            quote = c
            out.append(" ")
        elif line.startswith("//", k):
            out.append(" " * (len(line) - k))
            break
        else:
            out.append(c)
        k += 1
    return "".join(out)


SWAPS = [
    (r" < ", " <= "), (r" <= ", " < "), (r" > ", " >= "), (r" >= ", " > "), (r" == ", " != "), (r" != ", " == "),
    (r" && ", " || "), (r" \|\| ", " && "), (r" \+ ", " - "), (r" - ", " + "), (r" \* ", " + "), (r" / ", " * "),
    (r" % ", " / "), (r" \+= ", " -= "), (r" -= ", " += "), (r" \*= ", " += "), (r"\bmin\b(?=[(<])", "max"),
    (r"\bmax\b(?=[(<])", "min"), (r"\btrue\b", "false"), (r"\bfalse\b", "true"), (r"(?<=[(] )-(?=[\w(])", ""),
    (r"(?<=[(])-(?=[\w(])", ""), (r"(?<=, )-(?=[\w(])", ""), (r"(?<== )-(?=[\w(])", ""), (r"(?<=return )-(?=[\w(])", ""),
    (r"(?<=[(& |])!(?=[\w(])", ""), (r"coverage::none", "coverage::full"), (r"coverage::partial", "coverage::full"),
    (r"coverage::full", "coverage::none"), (r"\.begin\b(?!\()", ".end"), (r"\.end\b(?!\()", ".begin"),
]
NUMBER = re.compile(r"(?<![\w.<])(\d+)(?![\w.>])")
SKIPPED = re.compile(r"^\s*(#|//|template|using|static_assert|namespace|requires|concept|friend|\[\[nodiscard\]\] auto)|"
                     r"\brequires\b|\bconcept\b|\braise|constexpr bool (is|has|can)_|\bnoexcept\(|operator[<=!>&|-]")
STATEMENT = re.compile(r"^\s+(?!return\b|const\b|auto\b|using\b|static\b|constexpr\b|break\b|continue\b|case\b|default\b|"
                       r"else\b|if\b|for\b|while\b|throw\b|struct\b|enum\b)"
                       r"([\w.\[\]+*-]+(->[\w.]+)*( [-+*|&]?= .*|\(.*\))|\+\+[\w.]+|--[\w.]+);$")


def mutants_of(path):
    """(line number, new line) of every mutant of a file."""
    with open(os.path.join(HEADERS, path), encoding="utf-8") as f:
        lines = f.read().split("\n")
    found = []
    for number, line in enumerate(lines):
        code = blanked(line).rstrip()
        if not code.strip() or SKIPPED.search(code):
            continue
        for pattern, new in SWAPS:
            for m in re.finditer(pattern, code):
                found.append((number, line[:m.start()] + new + line[m.end():]))
        for m in NUMBER.finditer(code):
            value = int(m.group(1))
            for other in {value + 1, max(value - 1, 0)} - {value}:
                found.append((number, line[:m.start()] + str(other) + line[m.end():]))
        for m in re.finditer(r"\bif \(", code):
            depth, k = 1, m.end()
            while k < len(code) and depth:
                depth += {"(": 1, ")": -1}.get(code[k], 0)
                k += 1
            if depth == 0:
                found.append((number, line[:m.end()] + "!(" + line[m.end():k - 1] + ")" + line[k - 1:]))
        if STATEMENT.match(code) and code.count("(") == code.count(")"):
            found.append((number, re.match(r"\s*", line).group() + ";"))
    return lines, found


class Killers:
    def __init__(self, out, compiler):
        self.out, self.compiler = out, compiler
        self.flags = ["-std=c++20", "-O0", "-w", "-pthread", "-isystem", "/usr/include/eigen3",
                      '-DSOFTLOOK_SOAK_CASES="%s"' % os.path.join(ROOT, "tests", "soak", "cases")]
        # One instruction set compiles in a third of the time: the highest that the machine has.
        cpu = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
        words = set(re.findall(r"^flags\s*:(.*)$", cpu, re.M)[0].split()) if "flags" in cpu else set()
        if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd", "adx"} <= words:
            self.flags.append("-march=skylake-avx512")
        elif {"avx2", "fma", "bmi2", "f16c"} <= words:
            self.flags.append("-march=x86-64-v3")
        self.limits = {}
        self.read_once()

    def read_once(self):
        """GoogleTest and Eigen in precompiled form: half of what a killer takes to compile."""
        os.makedirs(self.out, exist_ok=True)
        header = os.path.join(self.out, "read_once.hpp")
        with open(header, "w", encoding="utf-8") as f:
            f.write("".join("#include <%s>\n" % name for name in (
                "gtest/gtest.h", "Eigen/Core", "algorithm", "cmath", "cstring", "functional", "limits", "memory", "optional",
                "span", "sstream", "string", "thread", "vector")))
        if run([self.compiler, *self.flags, "-x", "c++-header", header, "-o", header + ".gch"], 300) == 0:
            self.flags += ["-include", header]  # g++ takes the .gch beside it, clang++ the .gch if it made it

    def compile(self, source, target, overlay):
        include = (["-I", overlay] if overlay else []) + ["-I", os.path.join(ROOT, "include"), "-I", ROOT]
        return run([self.compiler, *self.flags, *include, "-c", os.path.join(ROOT, source), "-o", target], 300)

    def program(self, sources, folder, overlay, again):
        """The program of these sources, of which `again` are compiled anew and the others taken as they are."""
        objects = []
        for source in sources:
            name = source.replace("/", "_") + ".o"
            if source in again:
                target = os.path.join(folder, name)
                if self.compile(source, target, overlay) != 0:
                    return None
            else:
                target = os.path.join(self.out, "objects", name)
            objects.append(target)
        program = os.path.join(folder, "killer")
        if run([self.compiler, *self.flags, *objects, "-o", program, "-lgtest_main", "-lgtest"], 120) != 0:
            return None
        return program

    def killers_of(self, path):
        """(sources of a program, those to compile again), the likeliest to kill first."""
        calls = ["tests/mutation/calls.cpp", "tests/mutation/kernels.cpp"]
        if path in KERNELS:
            return [(calls, calls[1:])]
        if path in ENGINE:
            unit = "tests/unit/engine/run/%s_test.cpp" % os.path.basename(path)[:-4]
            own = [([unit], [unit])] if os.path.exists(os.path.join(ROOT, unit)) else []
            return own + [(calls, calls)]
        if path in TRANSFORMS:
            return [(["tests/unit/transform/transforms_test.cpp"],) * 2, (calls, calls[:1])]
        name = os.path.basename(path)[:-4]
        tests = [t for t in ("tests/unit/mask/detail/%s_test.cpp" % name, "tests/unit/mask/%s_test.cpp" % name)
                 if os.path.exists(os.path.join(ROOT, t))]
        if "detail" in path:
            include = '"softlook/%s"' % path
            for header in mask_headers():
                test = "tests/unit/mask/%s_test.cpp" % os.path.basename(header)[:-4]
                with open(os.path.join(HEADERS, header), encoding="utf-8") as f:
                    if include in f.read() and os.path.exists(os.path.join(ROOT, test)):
                        tests.append(test)
        return [([t], [t]) for t in tests]

    def prepare(self, paths):
        """Compiles what mutants take as it is, and has every killer pass without a mutant."""
        os.makedirs(os.path.join(self.out, "objects"), exist_ok=True)
        seen = set()
        for path in paths:
            for sources, _ in self.killers_of(path):
                if tuple(sources) in seen:
                    continue
                seen.add(tuple(sources))
                begun = time.time()
                program = self.program(sources, os.path.join(self.out, "objects"), None, sources)
                built = time.time()
                if program is None or run([program, "--gtest_brief=1"], 600) != 0:
                    sys.exit("mutation: %s does not pass without a mutant" % " ".join(sources))
                ran = time.time()
                self.limits[tuple(sources)] = 4 * (ran - built) + 20
                print("mutation: %s builds in %.1f s, runs in %.1f s" % (sources[0], built - begun, ran - built), flush=True)


def run(command, seconds):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=seconds,
                              preexec_fn=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        return -1


def judge(killers, number, path, lines, line, new):
    """'killed', 'survived' or 'stillborn', and by what."""
    folder = os.path.join(killers.out, "mutant_%d" % number)
    overlay = os.path.join(folder, "include")
    target = os.path.join(overlay, "softlook", path)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(os.path.dirname(target))
    with open(target, "w", encoding="utf-8") as f:
        f.write("\n".join(lines[:line] + [new] + lines[line + 1:]))
    verdict = ("survived", "")
    for sources, again in killers.killers_of(path):
        program = killers.program(sources, folder, overlay, again)
        if program is None:
            verdict = ("stillborn", "")
            break
        status = run([program, "--gtest_brief=1", "--gtest_fail_fast"], killers.limits[tuple(sources)])
        if status != 0:
            verdict = ("killed", sources[0] if status > 0 else sources[0] + " (crash or no end)")
            break
    shutil.rmtree(folder, ignore_errors=True)
    return verdict


def equivalents():
    """(path, old line, new line) -> why no test can tell them apart."""
    known, path = {}, os.path.join(ROOT, "tests", "mutation", "equivalent.txt")
    if not os.path.exists(path):
        return known
    with open(path, encoding="utf-8") as f:
        for block in f.read().split("\n\n"):
            rows = [r for r in block.strip().split("\n") if r and not r.startswith("#")]
            if len(rows) >= 4:
                known[(rows[0], rows[1][2:].strip(), rows[2][2:].strip())] = " ".join(rows[3:])
    return known


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=120, help="mutants that compile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "mutation"))
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--list", action="store_true", help="only says what would be tried")
    a = parser.parse_args()

    paths = [p for p in mask_headers() + TRANSFORMS + ENGINE + KERNELS if a.only in p]
    chance = random.Random(a.seed)
    # A file after the other, so that a few mutants of each are tried before more of the long ones.
    queues = []
    for path in paths:
        lines, found = mutants_of(path)
        chance.shuffle(found)
        if found:
            queues.append((path, lines, found))
    total = sum(len(q[2]) for q in queues)
    order = []
    while any(q[2] for q in queues):
        for path, lines, found in queues:
            for _ in range(1 + len(found) // 60):
                if found:
                    order.append((path, lines, *found.pop()))
    print("mutation: %d possible mutants in %d files" % (total, len(queues)))
    if a.list:
        for path, _, line, new in order[:a.count]:
            print("%s:%d: %s" % (path, line + 1, new.strip()))
        return 0

    killers = Killers(a.out, a.compiler)
    killers.prepare([p for p in paths if any(q[0] == p for q in queues)])
    known = equivalents()
    tally = {"killed": 0, "survived": 0, "stillborn": 0, "explained": 0}
    survivors = []
    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        waiting = iter(enumerate(order))
        running = {}
        while True:
            while len(running) < a.jobs and tally["killed"] + tally["survived"] + tally["explained"] + len(running) < a.count:
                number, (path, lines, line, new) = next(waiting, (None, (None,) * 4))
                if path is None:
                    break
                running[pool.submit(judge, killers, number, path, lines, line, new)] = (path, lines, line, new)
            if not running:
                break
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                path, lines, line, new = running.pop(future)
                verdict, by = future.result()
                why = known.get((path, lines[line].strip(), new.strip()))
                if verdict == "survived" and why:
                    verdict, by = "explained", why
                tally[verdict] += 1
                print("%-9s %s:%d: %s  %s" % (verdict, path, line + 1, new.strip(), by), flush=True)
                if verdict == "survived":
                    survivors.append("".join(difflib.unified_diff(
                        [x + "\n" for x in lines], [x + "\n" for x in lines[:line] + [new] + lines[line + 1:]],
                        path, path, n=2)))
    for diff in survivors:
        print("\nSURVIVED:\n" + diff)
    tried = tally["killed"] + tally["survived"] + tally["explained"]
    print("mutation: %d mutants in %.0f s: %d killed, %d equivalent (equivalent.txt), %d survived; %d more did not compile"
          % (tried, time.time() - begun, tally["killed"], tally["explained"], tally["survived"], tally["stillborn"]))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
