#!/usr/bin/env python3
"""amalgamate.py [--output FILE] [HEADER...]: one file of softlook/softlook.hpp, or of the headers named, and of all
that they include of softlook. What is included once stays once; an .inl file without a guard is written out at each
place that includes it, as the kernels are for each instruction set. Includes of Eigen and of the standard library stay."""

import argparse
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INCLUDE = os.path.join(ROOT, "include")
DIRECTIVE = re.compile(r"\s*#\s*(include|if|ifdef|ifndef|elif|else|endif|define|undef|pragma)\b\s*(.*?)\s*$")
VERSION = re.compile(r"#define SOFTLOOK_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)")


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def version():
    return ".".join(VERSION.findall(read(os.path.join(INCLUDE, "softlook", "core", "version.hpp"))))


class Amalgamation:
    def __init__(self):
        self.lines = []
        self.done = set()  # with a guard of their own, written where no condition can hide them
        self.open = []  # files being written, outermost first
        self.conditions = []  # of the #if that are open: [the first line, number of the branch]
        self.named = {}  # macro that stands for a file -> [(conditions where it was defined, file)]

    def fail(self, text):
        sys.exit(f"amalgamate.py: {self.open[-1] if self.open else '?'}: {text}")

    def write(self, name):
        """A header or a part of one, by its name below include/."""
        if name in self.open:
            self.fail(f"{name} includes itself")
        path = os.path.join(INCLUDE, name)
        if not os.path.exists(path):
            self.fail(f"there is no {name}")
        text = read(path)
        once = re.search(r"^#pragma once$", text, re.M) is not None
        if not once and name.endswith(".hpp"):
            self.fail(f"{name} has no #pragma once")
        if name in self.done:
            return
        if once and not self.conditions:
            self.done.add(name)
        guard = "SOFTLOOK_AMALGAMATED_" + re.sub(r"\W", "_", name).upper()
        self.open.append(name)
        depth = len(self.conditions)
        self.lines.append(f"// ---- {name}")
        if once:
            self.lines += [f"#ifndef {guard}", f"#define {guard}"]
        for line in text.removesuffix("\n").split("\n"):
            directive = DIRECTIVE.match(line)
            if not (directive and self.taken(directive[1], directive[2])):
                self.lines.append(line)
        if once:
            self.lines.append(f"#endif  // {guard}")
        if len(self.conditions) != depth:
            self.fail("an #if is not closed")
        self.open.pop()

    def taken(self, word, rest):
        """What a directive means here; whether something else was written in its place."""
        if word in ("if", "ifdef", "ifndef"):
            self.conditions.append((f"#{word} {rest}", 0))
        elif word in ("elif", "else"):
            first, branch = self.conditions[-1]
            self.conditions[-1] = (first, branch + 1 if word == "else" else -1)
        elif word == "endif":
            self.conditions.pop()
        elif word == "pragma":
            return rest == "once"
        elif word == "undef":
            self.named.pop(rest, None)
        elif word == "define":
            file = re.fullmatch(r'(\w+) "(softlook/.*)"', rest)
            if file:
                self.named.setdefault(file[1], []).append((tuple(self.conditions), file[2]))
        elif word == "include":
            return self.included(rest)
        return False

    def included(self, what):
        if what.startswith("<"):
            return False
        file = re.fullmatch(r'"([^"]*)".*', what)
        if file:
            self.write(file[1])
        elif len(self.named.get(what, [])) == 1:
            self.write(self.named[what][0][1])
        else:
            self.chosen(what)
        return True

    def chosen(self, macro):
        """#include of a macro that the branches of one #if … #else … #endif defined as a file each."""
        choices = self.named.get(macro, [])
        if len(choices) != 2 or choices[0][0][:-1] != choices[1][0][:-1]:
            self.fail(f"#include {macro}: not one file, nor one for each branch of an #if")
        (first, yes), (second, no) = choices[0][0][-1], choices[1][0][-1]
        if (first, yes, no) != (second, 0, 1):
            self.fail(f"#include {macro}: not one file for each branch of an #if")
        self.lines.append(first)
        self.conditions.append((first, 0))
        self.write(choices[0][1])
        self.lines.append("#else")
        self.conditions[-1] = (first, 1)
        self.write(choices[1][1])
        self.lines.append("#endif")
        self.conditions.pop()


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("headers", nargs="*", default=["softlook/softlook.hpp"], metavar="HEADER")
    arguments.add_argument("--output", metavar="FILE", help="standard output if it is not given")
    given = arguments.parse_args()
    all_of_it = Amalgamation()
    for header in given.headers:
        all_of_it.write(header)
    top = [f"softlook {version()} in one file: {', '.join(given.headers)}.",
           "Made by cmake/packaging/amalgamate.py. A program includes this file or the headers, never both.", ""]
    top += read(os.path.join(ROOT, "LICENSE")).splitlines()
    lines = [f"// {line}".rstrip() for line in top] + ["#pragma once", ""] + all_of_it.lines
    text = "\n".join(lines) + "\n"
    if given.output:
        with open(given.output, "w", encoding="utf-8") as file:
            file.write(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
