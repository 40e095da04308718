#!/usr/bin/env python3
"""What a file with an attention call costs to compile, against a file with one Eigen product.

    bench/compile_cost.py [--rounds N] [--count] [--filter RE] [--cxx COMPILER]... [--eigen DIR]
                          [--json FILE]

Every file is compiled N times by each compiler, in alternation and never through ccache; the least
user time of the child processes counts, because a busy machine only adds. Memory is their largest
resident set. The files are what bench/README.md says, and so are the targets, which are told, not
enforced: seconds of a busy machine fail nothing. With --count each file is compiled once, under
cachegrind, and instructions of the compiler take the place of seconds: they are the same whoever
else uses the machine, so a row of g++ above its limit fails. Needs Python 3, and valgrind to count.
"""

import argparse
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SIGNATURE = ("Eigen::MatrixXf {name}(const Eigen::MatrixXf& q, const Eigen::MatrixXf& k, "
             "const Eigen::MatrixXf& v) {{\n  return {body};\n}}\n")


def source(include, *bodies):
    """A file that includes one header and has a function for each expression."""
    functions = [SIGNATURE.format(name=f"f{n}", body=body) for n, body in enumerate(bodies)]
    return f"#include <{include}>\n" + "".join(functions)


SOFTLOOK = "softlook/attention.hpp"
CAUSAL = "softlook::attention(q, k, v, softlook::masks::causal_top_left{})"
WINDOW = "softlook::attention(q, k, v, softlook::masks::window{.left = 256, .right = 0})"
OPTIONS = ("softlook::attention(q, k, v, softlook::masks::causal_top_left{}, "
           "softlook::options{.scale = 0.5})")


def first_program():
    """The first C++ program of README.md."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(r"^```cpp\n(.*?)^```$", file.read(), re.MULTILINE | re.DOTALL).group(1)


def examples():
    for path in sorted(glob.glob(os.path.join(ROOT, "examples", "*.cpp"))):
        with open(path, encoding="utf-8") as file:
            yield "example: " + os.path.splitext(os.path.basename(path))[0], file.read(), False


# Name, source, whether softlook::compiled is used. The first one is the measure of all.
FILES = [
    ("Eigen, one product", source("Eigen/Dense", "q * k").replace("& v", "&"), False),
    ("the header alone", source(SOFTLOOK), False),
    ("causal", source(SOFTLOOK, CAUSAL), False),
    ("causal, options", source(SOFTLOOK, OPTIONS), False),
    ("causal and window", source(SOFTLOOK, CAUSAL, WINDOW), False),
    ("compiled: causal", source(SOFTLOOK, CAUSAL), True),
    ("compiled: causal, options", source(SOFTLOOK, OPTIONS), True),
    ("compiled: causal and window", source(SOFTLOOK, CAUSAL, WINDOW), True),
    ("softlook.hpp alone", source("softlook/softlook.hpp"), False),
    ("README", first_program(), False),
    ("compiled: README", first_program(), True),
    *examples(),
]


def targets(name):
    """Most time and memory of a row, as multiples of the first one's; None for no limit."""
    if name.startswith("example: "):
        return 3.0, None
    return {"causal": (2.5, 2.0), "compiled: causal": (1.3, 2.0), "README": (2.2, None),
            "compiled: README": (0.9, None)}.get(name, (None, None))


# What g++ 12 reaches, counted, and 3 %: its garbage is collected in steps, each of 1 or 2 %.
COUNTED = {"causal": 2.80, "README": 1.47, "compiled: causal": 0.62, "compiled: README": 0.92}


def run_child(command):
    """User seconds and KiB of the largest process of a command."""
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit("failed: " + " ".join(command))
    return used.ru_utime, used.ru_maxrss


def count_child(command):
    """10⁹ instructions of the process of a command that has most, and its KiB are not known."""
    result = subprocess.run(["valgrind", "--tool=cachegrind", "--cache-sim=no", "--trace-children=yes",
                             "--cachegrind-out-file=/dev/null", *command], capture_output=True, text=True)
    counts = re.findall(r"I +refs: +([0-9,]+)", result.stderr)
    if result.returncode != 0 or not counts:
        sys.exit("failed under valgrind: " + " ".join(command) + "\n" + result.stderr[-2000:])
    return max(int(count.replace(",", "")) for count in counts) / 1e9, 0


def object_bytes(path):
    """Code and constants; None without binutils."""
    if not shutil.which("size"):
        return None
    output = subprocess.run(["size", path], check=True, capture_output=True, text=True).stdout
    return int(output.splitlines()[1].split()[0])


def compiled_flavour(cxx, include):
    """The inline namespace of this compiler, which names the macro that softlook::compiled defines."""
    text = '#include "softlook/core/config.hpp"\n#define TEXT(x) TEXT_OF(x)\n' \
           '#define TEXT_OF(x) #x\nTEXT(SOFTLOOK_ABI)\n'
    output = subprocess.run([cxx, "-std=c++20", "-O2", "-I", include, "-x", "c++", "-E", "-P", "-"],
                            input=text, check=True, capture_output=True, text=True).stdout
    return output.strip().splitlines()[-1].strip('"')


def find_eigen(cxx):
    for folder in ("/usr/include/eigen3", "/usr/local/include/eigen3"):
        if os.path.exists(os.path.join(folder, "Eigen", "Core")):
            return folder
    sys.exit("Eigen was not found: give --eigen DIR")


def measure(cxx, eigen, rounds, counting, folder, wanted):
    include = os.path.join(ROOT, "include")
    flags = ["-std=c++20", "-O2", "-I", include, "-isystem", eigen]
    # What linking to softlook::compiled adds.
    define = ["-DSOFTLOOK_COMPILED", f"-DSOFTLOOK_COMPILED_{compiled_flavour(cxx, include)}=1"]
    rows = []
    for n, (name, text, compiled) in enumerate(FILES):
        if n > 0 and not wanted.search(name):
            continue
        path = os.path.join(folder, f"{n}.cpp")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        command = [cxx, *flags, *(define if compiled else []), "-c", path, "-o", path + ".o"]
        rows.append({"name": name, "command": command, "object": path + ".o", "runs": []})
    if counting:
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for row, run in zip(rows, pool.map(lambda row: count_child(row["command"]), rows)):
                row["runs"].append(run)
    for turn in range(0 if counting else rounds):
        for row in rows if turn % 2 == 0 else reversed(rows):
            row["runs"].append(run_child(row["command"]))
    for row in rows:
        row["seconds"] = min(seconds for seconds, _ in row["runs"])
        row["bytes"] = 1024 * max(kib for _, kib in row["runs"])
        row["object_bytes"] = object_bytes(row.pop("object"))
    for row in rows:
        row["time_ratio"] = row["seconds"] / rows[0]["seconds"]
        row["memory_ratio"] = None if counting else row["bytes"] / rows[0]["bytes"]
        del row["command"], row["runs"]
    return rows


def show(version, rows):
    """Prints a table, and which rows miss their targets."""
    print(version)
    print(f"  {'':34} {'user s':>7} {'ratio':>6} {'MiB':>5} {'ratio':>6} {'object KiB':>11}")
    for row in rows:
        size = "" if row["object_bytes"] is None else f"{row['object_bytes'] / 1024:.0f}"
        print(f"  {row['name']:34} {row['seconds']:7.2f} {row['time_ratio']:6.2f} "
              f"{row['bytes'] / 2**20:5.0f} {row['memory_ratio']:6.2f} {size:>11}")
    for row in rows:
        for what, limit in zip(("time", "memory"), targets(row["name"])):
            if limit is None:
                continue
            met = row[what + "_ratio"] <= limit
            print(f"  {row['name']}: at most {limit} x the {what}: {'met' if met else 'NOT met'}")


def show_counts(cxx, rows):
    """Prints a table of instructions; returns whether all rows keep to what was reached."""
    print(f"{cxx}\n  {'':34} {'10^9':>7} {'ratio':>6} {'limit':>6}")
    kept = True
    for row in rows:
        limit = None if "clang" in cxx else COUNTED.get(row["name"])
        over = limit is not None and row["time_ratio"] > limit
        kept = kept and not over
        print(f"  {row['name']:34} {row['seconds']:7.2f} {row['time_ratio']:6.2f} "
              f"{limit or '':>6}{'  TOO MANY' if over else ''}")
    return kept


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", action="store_true", help="instructions instead of seconds")
    parser.add_argument("--filter", default="", help="rows whose names match, beside the first")
    parser.add_argument("--cxx", action="append", help="default: g++ and clang++-19, if installed")
    parser.add_argument("--eigen", help="folder that holds Eigen/")
    parser.add_argument("--json", help="file for the results")
    given = parser.parse_args()
    compilers = given.cxx or [c for c in ("g++", "clang++-19") if shutil.which(c)]
    if not compilers:
        sys.exit("no compiler: give --cxx")
    if given.count and not shutil.which("valgrind"):
        sys.exit("--count needs valgrind")
    results = {}
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        for cxx in compilers:
            version = subprocess.run([cxx, "--version"], check=True, capture_output=True,
                                     text=True).stdout.splitlines()[0]
            results[version] = measure(cxx, given.eigen or find_eigen(cxx), given.rounds,
                                       given.count, folder, re.compile(given.filter))
            if given.count:
                kept = show_counts(cxx, results[version]) and kept
            else:
                show(version, results[version])
    if given.json:
        with open(given.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=1)
    if not kept:
        sys.exit("FAILED: a file costs more than before")


if __name__ == "__main__":
    main()
