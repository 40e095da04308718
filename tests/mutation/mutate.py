#!/usr/bin/env python3
"""Mutation testing of masks, scores, transforms, caches, kernels and what runs them.

Each mutant is one change in one line of a header: an operator, a bound, a constant, a sign, a condition, a statement
left out. It is compiled into a program of tests (a killer), and is killed when that program fails, crashes or does not
end. Mutants that cannot be told from the original are listed in equivalent.txt with the reason. Ends with status 1 if
another one survives. Verdicts are kept in OUT/verdicts.jsonl and hold until a file that the mutant's killers are made
of changes.

    tests/mutation/mutate.py [--count N] [--seed S] [--only PART_OF_A_PATH] [--jobs J] [--out FOLDER] [--list]
"""

import argparse
import collections
import concurrent.futures
import difflib
import hashlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import threading

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HEADERS = os.path.join(ROOT, "include", "softlook")
LIBRARY = "cmake/compiled/"
UNIT = "tests/unit/"
CALLS = "tests/mutation/calls.cpp"


class Area:
    """Files, the sources of softlook::compiled that hold their code, and programs of tests, the likeliest to kill
    first. A mutant compiles the sources again, and of the tests those that read the file themselves (`again`)."""

    def __init__(self, name, files, library=(), tests=(), again=()):
        self.name, self.files = name, files
        self.library = [LIBRARY + source + ".cpp" for source in library]
        self.tests = [[t if t.startswith("tests/") else UNIT + t + "_test.cpp" for t in program] for program in tests]
        self.again = [t if t.startswith("tests/") else UNIT + t + "_test.cpp" for t in again]


def named(folder, names, ending):
    return [folder + name + ending for name in names.split()]


def mask_areas():
    """Each mask with its test; what masks share with the tests of those that include it."""
    files = []
    for folder in ("mask/", "mask/detail/"):
        files += [folder + n for n in sorted(os.listdir(os.path.join(HEADERS, folder))) if n.endswith(".hpp")]
    for path in files:
        tests = [path[:-4]]
        if "detail" in path:
            for other in files:
                with open(os.path.join(HEADERS, other), encoding="utf-8") as f:
                    if '"softlook/%s"' % path in f.read():
                        tests.append(other[:-4])
        tests = [t for t in tests if os.path.exists(os.path.join(ROOT, UNIT + t + "_test.cpp"))]
        yield Area("masks", [path], (), [[t] for t in tests], tests)


def areas():
    softmax, gemm, simd = "engine/stamped/softmax/", "engine/stamped/gemm/", "engine/stamped/simd/"
    yield from mask_areas()
    for name in "dot general additive qk_norm trilinear".split():
        yield Area("scores", ["score/%s.hpp" % name], (), [["score/" + name]], ["score/" + name])
    for name in "transforms temperature t5_bias".split():
        yield Area("transforms", ["transform/%s.hpp" % name], (), [["transform/" + name]], ["transform/" + name])
    yield Area("transforms", ["transform/relative_rows.hpp"], (), [["attention/relative_keys"]],
               ["attention/relative_keys"])
    for files, test in ((["kv_cache"], "kv_cache"), (["paged_rows"], "paged_rows"),
                        (["int8_rows", "detail/stored_row"], "stored_rows")):
        yield Area("caches", ["cache/%s.hpp" % f for f in files], (), [["cache/" + test]], ["cache/" + test])

    for name, library in (("plan", "attention_float"), ("tasks", "attention_float"), ("latin_square", "backward"),
                          ("single_query", "attention_float")):
        test = "engine/run/" + name
        yield Area("runs", ["engine/run/%s.hpp" % name], [library], [[test], [CALLS]], [test])
    yield Area("runs", named("engine/run/", "run_attention score_inputs sinks", ".hpp"),
               ["attention_float"], [[CALLS]])
    yield Area("tiled", named(softmax, "online_softmax softmax_state tile_walk tiled_forward tiles", ".inl"),
               ["kernels_float"], [[CALLS]])
    yield Area("tiled", [softmax + "tiled_weights.inl"], ["kernels_float"], [["attention/weights"], [CALLS]])
    yield Area("tiled", [softmax + "tiled_scores.inl"], ["kernels_float"], [["attention/hard", "attention/entmax"]])
    yield Area("tiled", [softmax + "whole_scores.inl"], ["kernels_rows"], [["attention/hard", "attention/entmax"]])
    yield Area("tiled", [softmax + "dropout.inl"], ["kernels_rows"], [[CALLS], ["attention/dropout"]])
    yield Area("few queries", named(softmax, "few_queries few_scores", ".inl"), ["kernels_float"], [[CALLS]])
    yield Area("few queries", [softmax + "few_stored.inl", simd + "stored.inl"], ["kernels_rows"],
               [[CALLS], ["cache/stored_rows"]])
    yield Area("few queries", [softmax + "single_query.inl"], ["kernels_float"], [["engine/run/single_query"], [CALLS]])
    yield Area("additive", [softmax + "additive_scores.inl"], ["kernels_additive"],
               [[CALLS], ["score/additive", "attention/additive_magnitudes"]])
    yield Area("backward", [softmax + "tiled_backward.inl", softmax + "backward_rows.inl"], ["kernels_backward"],
               [[CALLS]])
    yield Area("backward", [softmax + "additive_backward.inl"], ["kernels_backward"],
               [["gradient/score_weights"], ["gradient/bahdanau"]])
    yield Area("products", named(gemm, "micro_kernel pack", ".inl"), ["kernels_float"], [[CALLS]])
    yield Area("products", [gemm + "rows.inl"], ["kernels_rows"], [[CALLS], ["cache/stored_rows"]])
    yield Area("products", [gemm + "finite.inl"], ["kernels_float"], [[CALLS], ["attention/masked_values"]])
    yield Area("products", [gemm + "packed_product.inl"], ["kernels_layers"], [["layer/linear_layer"]])
    yield Area("products", [gemm + "stored_product.inl"], ["kernels_layers"], [["layer/stored_weights"]])
    yield Area("simd", named(simd, "math steps vector", ".inl"), ["kernels_float"], [[CALLS]])
    yield Area("layers", ["engine/stamped/layers/activation.inl"], ["kernels_layers"], [["layer/linear_layer"]])
    yield Area("layers", ["engine/stamped/layers/layer_norm.inl"], ["kernels_layers"], [["layer/layer_norm"], ["layer/rms_norm"]])
    yield Area("rounded", named(softmax, "rounded_few rounded_tiles", ".inl"), ["kernels_rounded"],
               [["attention/low_precision"]])
    yield Area("rounded", named(gemm, "rounded_product rounded_rows", ".inl") +
               named(simd, "dot_steps dot_tiles", ".inl"), ["kernels_rounded"],
               [["layer/low_precision"], ["attention/low_precision"]])
    yield Area("recurrent", named("engine/stamped/recurrent/", "recurrent chunk panels", ".inl"), ["kernels_linear"],
               [["linear/attention"]])
    yield Area("products", ["engine/run/packed_linear.hpp"], (), [["layer/linear_layer"]], ["layer/linear_layer"])
    yield Area("runs", ["engine/run/materialised.hpp"], ["attention_float"], [[CALLS]])
    yield Area("runs", ["engine/run/small.hpp"], ["attention_float"], [["attention/small"], [CALLS]])
    yield Area("runs", named("engine/run/", "streamed_weights shown_weights score_rows", ".hpp"), ["attention_float"],
               [["attention/weights", "attention/hard"]])
    yield Area("runs", ["engine/run/sequences.hpp"], ["sequences"], [[CALLS], ["attention/segments"]])
    yield Area("runs", ["engine/run/run_backward.hpp"], ["backward"], [[CALLS], ["gradient/transforms"]])
    yield Area("runs", ["engine/run/dropped_weights.hpp"], (), [["attention/dropout"]], ["attention/dropout"])
    # These compile the random cases again, which takes three times as long.
    yield Area("runs", [softmax + "edit.inl"], ["attention_float"], [[CALLS]], [CALLS])
    yield Area("runs", ["engine/kernels/frame.hpp"], ["attention_float"], [[CALLS], ["attention/frame"]],
               [CALLS, "attention/frame"])
    yield Area("runs", named("engine/kernels/", "edits row_source policy_calls", ".hpp"), ["attention_float"], [[CALLS]],
               [CALLS])


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
                     r"\brequires\b|\bprefetch|builtin_prefetch|\bconcept\b|\braise|constexpr bool (is|has|can)_|\bnoexcept\(|operator[<=!>&|-]")
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


def digest(*parts):
    h = hashlib.sha256()
    for part in parts:
        h.update(part if isinstance(part, bytes) else str(part).encode())
        h.update(b"\0")
    return h.hexdigest()[:24]


def run(command, cpu_seconds):
    """Its status; -1 if it did not end. The limit is of CPU time, which other programs do not change."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
    try:
        return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              timeout=20 + 8 * cpu_seconds, preexec_fn=limit, check=False).returncode
    except subprocess.TimeoutExpired:
        return -1


def cpu_of_children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Killers:
    """Compiles and runs programs of tests, with a mutant or without."""

    def __init__(self, out, compiler):
        self.out, self.compiler = out, compiler
        self.objects = os.path.join(out, "objects")
        os.makedirs(self.objects, exist_ok=True)
        self.flags = ["-std=c++20", "-O0", "-w", "-pthread", "-isystem", "/usr/include/eigen3",
                      '-DSOFTLOOK_SOAK_CASES="%s"' % os.path.join(ROOT, "tests", "soak", "cases")]
        # One instruction set compiles in a third of the time: the highest that the machine has.
        cpu = open("/proc/cpuinfo").read() if os.path.exists("/proc/cpuinfo") else ""
        words = set(re.findall(r"^flags\s*:(.*)$", cpu, re.M)[0].split()) if "flags" in cpu else set()
        if {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd", "adx"} <= words:
            self.flags.append("-march=skylake-avx512")
        elif {"avx2", "fma", "bmi2", "f16c"} <= words:
            self.flags.append("-march=x86-64-v3")
        version = subprocess.run([compiler, "--version"], capture_output=True, check=True).stdout
        self.flags_key = digest(version, *self.flags)
        self.read_once()
        self.verdicts_file = os.path.join(out, "verdicts.jsonl")
        self.verdicts, self.lock = {}, threading.Lock()
        if os.path.exists(self.verdicts_file):
            with open(self.verdicts_file, encoding="utf-8") as f:
                self.verdicts = dict(json.loads(line) for line in f)
        self.contents, self.keys = {}, {}
        self.take_library()

    def remember(self, key, verdict):
        with self.lock:
            self.verdicts[key] = verdict
            with open(self.verdicts_file, "a", encoding="utf-8") as f:
                f.write(json.dumps([key, verdict]) + "\n")

    def read_once(self):
        """GoogleTest and Eigen in precompiled form: half of what a killer takes to compile."""
        header = os.path.join(self.out, "read_once.hpp")
        text = "".join("#include <%s>\n" % name for name in (
            "gtest/gtest.h", "Eigen/Core", "algorithm", "cmath", "cstring", "functional", "limits", "memory", "optional",
            "span", "sstream", "string", "thread", "vector"))
        stamp = os.path.join(self.out, "read_once." + digest(self.flags_key, text))
        if not os.path.exists(stamp):
            with open(header, "w", encoding="utf-8") as f:
                f.write(text)
            if run([self.compiler, *self.flags, "-x", "c++-header", header, "-o", header + ".gch"], 300) != 0:
                sys.exit("mutation: GoogleTest or Eigen does not compile")
            open(stamp, "w").close()
        self.flags += ["-include", header]  # g++ takes the .gch beside it, clang++ the .gch if it made it

    def take_library(self):
        """softlook::compiled, so that a mutant of a kernel compiles the unit with that kernel and no test."""
        abi = os.path.join(self.objects, "abi.o")
        if self.compile(LIBRARY + "abi.cpp", abi) != 0:
            sys.exit("mutation: abi.cpp does not compile")
        with open(abi, "rb") as f:
            name = re.search(rb"softlook_abi=<(\w+)>", f.read()).group(1).decode()
        self.flags += ["-DSOFTLOOK_COMPILED", "-DSOFTLOOK_COMPILED_%s=1" % name]
        folder = os.path.join(ROOT, LIBRARY)
        self.library = [LIBRARY + n for n in sorted(os.listdir(folder)) if n.endswith(".cpp") and n != "abi.cpp"]

    def compile(self, source, target, overlay=None):
        include = [x for i in ([overlay] if overlay else []) + [os.path.join(ROOT, "include")]
                   for x in ("-I", i, "-fmacro-prefix-map=%s=include" % i)]
        return run([self.compiler, *self.flags, *include, "-I", ROOT, "-MMD", "-MF", target[:-2] + ".d",
                    "-c", os.path.join(ROOT, source), "-o", target], 300)

    def content(self, path):
        if path not in self.contents:
            with open(path, "rb") as f:
                self.contents[path] = digest(f.read())
        return self.contents[path]

    def key_of_object(self, target):
        """What an object was made of, None if a file is missing."""
        try:
            with open(target[:-2] + ".d", encoding="utf-8") as f:
                files = sorted({os.path.normpath(p) for p in f.read().replace("\\\n", " ").split()[1:]})
            return digest(self.flags_key, *(p + self.content(p) for p in files if p.startswith(ROOT + "/")
                                            and not p.startswith(self.out)))
        except FileNotFoundError:
            return None

    def object_of(self, source):
        """The object of a source without a mutant, compiled if what it is made of changed."""
        target = os.path.join(self.objects, source.replace("/", "_") + ".o")
        if source not in self.keys:
            key, stamp = self.key_of_object(target), target + ".key"
            if key is None or not os.path.exists(stamp) or open(stamp).read() != key:
                if os.path.exists(stamp):
                    os.remove(stamp)
                if self.compile(source, target) != 0:
                    sys.exit("mutation: %s does not compile" % source)
                key = self.key_of_object(target)
                with open(stamp, "w", encoding="utf-8") as f:
                    f.write(key)
            self.keys[source] = key
        return target

    def link(self, objects, tests, program):
        """Objects with a mutant come first: of a function that several objects hold, the first is taken."""
        rest = [self.object_of(s) for s in tests + self.library]
        held = {os.path.basename(o) for o in objects}
        rest = [o for o in rest if os.path.basename(o) not in held]
        return run([self.compiler, "-pthread", *objects, *rest, "-o", program, "-lgtest_main", "-lgtest"], 120)

    def key_of(self, area, tests):
        for source in tests + area.library:
            self.object_of(source)
        return digest(*(self.keys[source] for source in tests + area.library))

    def seconds_of(self, area, tests):
        """The CPU time of a program of tests without a mutant, which it has to pass."""
        key = "passes " + self.key_of(area, tests)
        if key not in self.verdicts:
            program = os.path.join(self.out, "killer")
            if self.link([], tests, program) != 0:
                sys.exit("mutation: %s does not link" % " ".join(tests))
            begun = cpu_of_children()
            if run([program, "--gtest_brief=1"], 600) != 0:
                sys.exit("mutation: %s does not pass without a mutant" % " ".join(tests))
            self.remember(key, cpu_of_children() - begun)
            print("mutation: %s runs in %.1f s" % (" ".join(tests), self.verdicts[key]), flush=True)
        return self.verdicts[key]

    def judge(self, number, area, path, lines, line, new):
        """'killed', 'survived', 'same' (not a letter of code is another) or 'stillborn', and by what."""
        folder = os.path.join(self.out, "mutant_%d" % number)
        overlay = os.path.join(folder, "include")
        made = {}

        def compiled(sources):
            os.makedirs(os.path.dirname(os.path.join(overlay, "softlook", path)), exist_ok=True)
            with open(os.path.join(overlay, "softlook", path), "w", encoding="utf-8") as f:
                f.write("\n".join(lines[:line] + [new] + lines[line + 1:]))
            for source in sources:
                if source not in made:
                    made[source] = os.path.join(folder, source.replace("/", "_") + ".o")
                    if self.compile(source, made[source], overlay) != 0:
                        return "stillborn"
            if all(open(made[s], "rb").read() == open(self.object_of(s), "rb").read() for s in sources):
                return "same"
            return None

        try:
            verdict = "survived"
            for tests in area.tests:
                limit = int(10 + 4 * self.seconds_of(area, tests))
                key = digest(path, line, new, self.key_of(area, tests))
                if key not in self.verdicts:
                    again = [t for t in tests if t in area.again] + area.library
                    found = compiled(again)
                    if not found:
                        program = os.path.join(folder, "killer")
                        if self.link([made[s] for s in again], tests, program) != 0:
                            found = "stillborn"
                        else:
                            status = run([program, "--gtest_brief=1", "--gtest_fail_fast"], limit)
                            found = "killed" if status > 0 else "crashed" if status < 0 else "survived"
                    self.remember(key, found)
                verdict = self.verdicts[key]
                if verdict in ("killed", "crashed"):
                    return "killed", tests[0] + (" (crash or no end)" if verdict == "crashed" else "")
                if verdict == "stillborn":
                    break
            return verdict, ""
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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


def places(only, seed):
    """(area, path, lines, mutants of the file still to be drawn) in the order in which a mutant of each is tried: one
    of each file, then others, of long files more. What is drawn of a file does not depend on the other files."""
    queues, total = [], 0
    for area in areas():
        for path in area.files:
            lines, found = mutants_of(path)
            if only in path and found:
                random.Random("%d %s" % (seed, path)).shuffle(found)
                queues.append((area, path, lines, found))
                total += len(found)
    print("mutation: %d possible mutants in %d files" % (total, len(queues)))
    order = list(queues)
    while len(order) < total:
        for queue in queues:
            order += [queue] * (1 + len(queue[3]) // 60)
    return collections.deque(order)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=87, help="mutants that compile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="files whose path holds this")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", default=os.path.join(ROOT, "build", "mutation"))
    parser.add_argument("--compiler", default=os.environ.get("CXX", "g++"))
    parser.add_argument("--list", action="store_true", help="only says what would be tried")
    a = parser.parse_args()

    order = places(a.only, a.seed)
    if a.list:
        for _, path, _, found in list(order)[:a.count]:
            if found:
                line, new = found.pop()
                print("%s:%d: %s" % (path, line + 1, new.strip()))
        return 0

    killers = Killers(os.path.abspath(a.out), a.compiler)
    known = equivalents()
    tally, skipped, barren, survivors = {}, {"stillborn": 0, "same": 0}, {}, []
    begun = cpu_of_children()

    def judged():
        return sum(sum(row.values()) for row in tally.values())

    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        number, running = 0, {}
        while True:
            while order and len(running) < a.jobs and judged() + len(running) < a.count:
                place = order.popleft()
                area, path, lines, found = place
                if not found:
                    continue
                line, new = found.pop()
                killers.key_of(area, [t for tests in area.tests for t in tests] + killers.library)
                running[pool.submit(killers.judge, number, area, path, lines, line, new)] = place, line, new
                number += 1
            if not running:
                break
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                place, line, new = running.pop(future)
                area, path, lines, _ = place
                verdict, by = future.result()
                if verdict in skipped:
                    skipped[verdict] += 1
                    barren[path] = barren.get(path, 0) + 1
                    if barren[path] < 12:
                        order.appendleft(place)
                    elif barren[path] == 12:
                        print("mutation: what is compiled again holds little of %s" % path, flush=True)
                        place[3].clear()
                    continue
                why = known.get((path, lines[line].strip(), new.strip()))
                if why:
                    verdict, by = ("equivalent", why) if verdict == "survived" else (verdict, by + ", but explained")
                row = tally.setdefault(area.name, {"killed": 0, "survived": 0, "equivalent": 0})
                row[verdict] += 1
                barren[path] = 0
                print("%-10s %s:%d: %s  %s" % (verdict, path, line + 1, new.strip(), by), flush=True)
                if verdict == "survived":
                    survivors.append("".join(difflib.unified_diff(
                        [x + "\n" for x in lines], [x + "\n" for x in lines[:line] + [new] + lines[line + 1:]],
                        path, path, n=2)))
    for diff in survivors:
        print("\nSURVIVED:\n" + diff)
    for name, row in tally.items():
        print("mutation: %-12s %3d mutants: %3d killed, %d equivalent, %d survived" % (
            name, sum(row.values()), row["killed"], row["equivalent"], row["survived"]))
    print("mutation: %d mutants: %d killed, %d equivalent (equivalent.txt), %d survived; %d more did not compile, %d are "
          "the same code; %.0f s of CPU" % (judged(), *(sum(row[k] for row in tally.values()) for k in (
              "killed", "equivalent", "survived")), skipped["stillborn"], skipped["same"], cpu_of_children() - begun))
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
