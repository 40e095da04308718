"""The conversation of compare.py with a peer, which is a child process: a line each way.

    variants ROW         ok NAME...        the ways in which the peer can run the row
    prepare NAME ROW     ok SECONDS        ready, and called once; SECONDS went into compiling
    time NAME CALLS      ok TOTAL FASTEST  seconds of CALLS calls after one that is not timed
    write NAME FILE      ok                the last output: float32, packed n x (heads * d)
    drop                 ok                forget what was prepared
    anything that fails  error MESSAGE

ROW is `key=value` words (rows.py). softlook_peer.cpp speaks the same, and forgets by itself.
"""

import os
import subprocess
import sys
import time
from pathlib import Path


class PeerError(Exception):
    """The peer answered `error`, or is gone."""


class Child:
    """A peer's process, bound to `cores`."""

    def __init__(self, name, command, cores, log):
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )

    def ask(self, *words):
        """The words of the answer, without `ok`."""
        try:
            self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except (BrokenPipeError, OSError):
            answer = ""
        if answer.startswith("ok"):
            return answer.split()[1:]
        if not answer:
            raise PeerError(f"its process ended ({self.process.wait()})")
        raise PeerError(answer.removeprefix("error").strip())

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Prepared:
    """`call()` runs the row once, `output()` gives its result as a packed numpy array."""

    def __init__(self, call, output, compile_seconds=0.0):
        self.call, self.output, self.compile_seconds = call, output, compile_seconds


def timed(call, calls):
    """Total and fastest seconds of wall time, after one call that is not timed."""
    clock = time.perf_counter
    call()
    total, fastest = 0.0, float("inf")
    for _ in range(calls):
        start = clock()
        call()
        seconds = clock() - start
        total += seconds
        fastest = min(fastest, seconds)
    return total, fastest


def row_of(words):
    """A dictionary of `key=value` words; whole numbers become int."""
    pairs = (word.split("=", 1) for word in words)
    return {key: int(value) if value.isdigit() else value for key, value in pairs}


def answer(peer, prepared, line):
    command, *words = line.split()
    if command == "variants":
        return " ".join(peer.variants(row_of(words)))
    if command == "prepare":
        prepared.pop(words[0], None)
        work = peer.prepare(words[0], row_of(words[1:]))
        work.call()
        prepared[words[0]] = work
        return f"{work.compile_seconds:.3f}"
    if command == "drop":
        prepared.clear()
        return ""
    work = prepared[words[0]]
    if command == "time":
        return "{} {}".format(*timed(work.call, int(words[1])))
    if command == "write":
        work.output().astype("float32").tofile(Path(words[1]))
        return ""
    raise ValueError(f"unknown command {command}")


def serve(peer):
    """Answers until stdin ends. What libraries print goes to stderr, where it disturbs nobody."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    prepared = {}
    for line in sys.stdin:
        try:
            text = "ok " + answer(peer, prepared, line)
        except Exception as error:  # a peer that cannot run a row is named and left out
            text = "error " + " ".join(f"{type(error).__name__}: {error}".split())[:300]
        answers.write(text + "\n")
        answers.flush()
