"""The table of variants in README.md against the headers (check.py), and as the front page of the
documentation (check.py FRONT.md). Every file that a page or the table names must be there."""

import glob
import os
import re
import sys

from filter import ROOT, filtered

HEADERS = os.path.join(ROOT, "include", "softlook")
PRIVATE = re.compile(r"(^|/)(engine|detail)/")
# Rooms whose pages are led to by rows of other rooms, or need none.
WITHOUT_ROWS = ("core", "mask", "score", "transform", "exec")
# What a score says to the engine; what ranks agree on.
NO_PAGE = ("score/recipe.hpp", "mpi/agreement.hpp")
LINK = re.compile(r"\[([^]]+)\]\(([^)#:]+)\)")


def public_headers():
    found = glob.glob(os.path.join(HEADERS, "**", "*.hpp"), recursive=True)
    return sorted(p for p in found if not PRIVATE.search(os.path.relpath(p, HEADERS)))


def groups(faults):
    """Which page a header is on, and the pages with a formula."""
    of, defined, with_formula = {}, set(), set()
    for path in public_headers():
        name = os.path.relpath(path, HEADERS)
        with open(path, encoding="utf-8") as file:
            text = file.read()
        named = re.search(r"^/// \\(defgroup|addtogroup) (\w+)", text, re.M)
        if not named:
            if not name.startswith("core") and name not in NO_PAGE and "SOFTLOOK_NAMESPACE_BEGIN" in text:
                faults.append(f"{name}: it is on no page")
            continue
        of[name] = named[2]
        if named[1] == "defgroup":
            if named[2] in defined:
                faults.append(f"{name}: the page {named[2]} is defined twice")
            defined.add(named[2])
        for command in re.findall(r"^/// \\(?:cases|program)((?:.*\n///  )*.*)", text, re.M):
            for part in re.findall(r"[\w.-]+/[\w./-]+", command):
                if not os.path.exists(os.path.join(ROOT, part)):
                    faults.append(f"{name}: there is no {part}")
        try:
            if "<math>" in filtered(path):
                with_formula.add(named[2])
        except OSError:
            pass  # told above
        except ValueError as error:
            faults.append(f"{name}: {error}")
    faults += [f"{n}: no header defines the page {g}" for n, g in of.items() if g not in defined]
    return of, with_formula


def programs(faults):
    """A program of README.md that is an example too is the same there."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        shown = re.findall(r"^```cpp\n(.*?)^```", file.read(), re.M | re.S)
    with open(os.path.join(ROOT, "examples", "learn.cpp"), encoding="utf-8") as file:
        example = file.read()
    if example[example.index("#include") :] not in shown:
        faults.append("README.md: the program of 'Learn with it' is not examples/learn.cpp")


def table():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        rows = re.search(r"^\| variant \|.*\n(?:\|.*\n)+", file.read(), re.M)
    return rows[0].splitlines()


def main():
    faults = []
    page_of, with_formula = groups(faults)
    programs(faults)
    rows = table()
    shown = set()
    for row in rows:
        if len(re.findall(r"(?<!\\)\|", row)) != 7:
            faults.append(f"README.md: not six cells: {row}")
        for text, target in LINK.findall(row):
            if not os.path.exists(os.path.join(ROOT, target)):
                faults.append(f"README.md: there is no {target}")
            name = os.path.relpath(os.path.join(ROOT, target), HEADERS)
            if target.endswith(".hpp"):
                shown.add(name)
                if name not in page_of:
                    faults.append(f"{name}: README.md names it, but it is on no page")
                elif page_of[name] not in with_formula:
                    faults.append(f"{name}: its page shows no formula")
    for name in page_of:  # variants; what the rooms of the map hold besides needs no row
        if name.split(os.sep)[0] not in WITHOUT_ROWS and name not in shown and page_of[name] not in (
                page_of.get(other) for other in shown):
            faults.append(f"README.md: no row of the table leads to {name}")
    if faults:
        sys.exit("\n".join(faults))
    if len(sys.argv) < 2:
        return

    def linked(match):
        if match[2].endswith(".hpp"):
            name = os.path.relpath(match[2], "include/softlook")
            return f'\\ref page_{page_of[name]} "{match[1]}"'
        return match[1].replace("_", "_\u200b")  # where a narrow column may break it

    with open(sys.argv[1], "w", encoding="utf-8") as front:
        front.write("# softlook: what there is\n\nAttention for C++: a page for each family of "
                    "variants, made from the comments of the headers. Rows are tokens: Q is n×d, K "
                    "is m×d, V is m×e, the result n×e. All names are in the namespace `softlook`. "
                    'What calls of all kinds share: \\ref page_core "options, errors, scratch" and '
                    '\\ref page_executors "executors".\n\n')
        front.write("\n".join(LINK.sub(linked, row.replace("\\|", "or")) for row in rows) + "\n")


if __name__ == "__main__":
    main()
