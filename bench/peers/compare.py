"""softlook and its peers, in alternation: every row of rows.py, with one thread and with two.

Started by run.sh. Every peer is a process of its own (protocol.py), bound to as many cores as the
row has threads. A round times a batch of calls of each, one after the other; figures are medians
over rounds, and a ratio is the median of the ratios within a round, because machines drift.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import rows
from alternation import PACKAGES, Comparison, say, version
from report import report


def distinct_cores():
    """A processor of each core that we may use; all processors where that is one core."""
    seen, first, rest = set(), [], []
    for cpu in sorted(os.sched_getaffinity(0)):
        try:
            folder = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
            core = tuple((folder / x).read_text() for x in ("physical_package_id", "core_id"))
        except OSError:
            core = cpu
        (rest if core in seen else first).append(cpu)
        seen.add(core)
    return first if len(first) > 1 else first + rest


def machine(args):
    try:
        model = next(
            line.split(":", 1)[1].strip()
            for line in open("/proc/cpuinfo")
            if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = "unknown"
    return {
        "commit": args.commit,
        "processor": model,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "versions": {p: version(p) for p in PACKAGES},
    }


def scratch_folder():
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 512 << 20
    return tempfile.TemporaryDirectory(prefix="softlook_peers_", dir=shared if roomy else None)


def arguments():
    parser = argparse.ArgumentParser(prog="bench/peers/run.sh", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rows, one thread")
    parser.add_argument("--filter", default="", metavar="TEXT", help="rows with TEXT in their name")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where all figures go, too")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--program", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--commit", default="unknown", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.batch, args.rounds = (0.03, 7) if args.quick else (0.15, 9)
    return args


def front_end(args):
    """Taken branches in a cycle: 1 on a core alone, half where another thread shares it."""
    return float(subprocess.run([args.program, "--front-end"], check=True, capture_output=True).stdout)


def measure(args, wanted, cores):
    results, problems = [], []
    with scratch_folder() as scratch:
        for threads in (1,) if args.quick or len(cores) < 2 else (1, 2):
            comparison = Comparison(args, threads, set(cores[-threads:]), scratch)
            for name, row in wanted:
                say(f"{name}, {threads} thread{'s' if threads > 1 else ''}")
                before = front_end(args)
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    results.append(comparison.run(name, row, folder))
                results[-1]["front_end"] = min(before, front_end(args))
            problems += [f"{p} ({threads} threads)" for p in comparison.problems]
            comparison.end()
    return results, problems


def main():
    args = arguments()
    wanted = [
        (name, row)
        for name, quick, row in rows.ROWS
        if args.filter.lower() in name.lower() and (quick or not args.quick or args.filter)
    ]
    if not wanted:
        raise SystemExit(f"bench/peers/run.sh: no row's name contains '{args.filter}'")
    about = machine(args)
    if about["load"] > 0.7:
        say(f"note: this machine is busy (load {about['load']:.1f}); the figures will show it")
    results, problems = measure(args, wanted, distinct_cores())
    if not report(args, about, results, problems):
        raise SystemExit("bench/peers/run.sh: FAILED: outputs disagree")


if __name__ == "__main__":
    main()
