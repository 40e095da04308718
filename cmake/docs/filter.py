"""Doxygen's input filter (filter.py FILE).

The headers are written to be read: formulas are plain text, indented by three spaces; sections are
words. This gives Doxygen the same as markup, line by line, so that its warnings name true lines."""

import glob
import os
import re
import sys
from html import escape

from formula import typeset

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COMMENT = re.compile(r"^(\s*)///(?!/)(<?)(.*)$")
CALLED = re.compile(r"^([A-Za-z_][\w'’ -]*?)\s{2,}(\S.*)$")  # "name  what it is"
SHAPES = re.compile(r"^\w+'?(?:(?:, | and )\w+'?)*: [\w()+·' ]*×")
SECTION = re.compile(r"^\\(see|throws|param|tparam|return|warning)\b")
# What policies say to the loops, which is for authors of policies: the map tells of it.
PROTOCOL = re.compile(r"  (?! |if )(\[\[nodiscard\]\] )?.*\b(allows|key_range|coverage_of|lookup_form|recipe)\(")
KIND = re.compile(r"  (using (policy|feature)_kind|static constexpr bool (is_additive|projects)) = .*;$")
NOTHING = " <!-- -->"  # keeps a line without ending the paragraph


def unbalanced(text):
    return sum(text.count(c) for c in "([{") > sum(text.count(c) for c in ")]}")


def pieces(text):
    """A line cut where two spaces stand outside of brackets."""
    out = [""]
    for part in re.split(r"(\s{2,})", text):
        if part.startswith("="):  # a column of equal signs is for the eye
            out[-2:] = ["".join(out[-2:]) + part]
        elif part.isspace() and not unbalanced(out[-1]):
            out.append("")
        else:
            out[-1] += part
    return out


def joined(block):
    """The lines of a block as (text, lines): a deeper line, or one inside a bracket, goes on."""
    items = []
    for line in block:
        if items and (line.startswith("    ") or unbalanced(items[-1][0])):
            gap = "  " if items[-1][0].endswith(",") and not unbalanced(items[-1][0]) else " "
            items[-1] = (items[-1][0] + gap + line.strip(), items[-1][1] + 1)
        else:
            items.append((line.strip(), 1))
    return items


def formulas(block):
    """A block that is indented by three spaces: names and what they are, or formulas."""
    out = []
    items = joined(block)
    named = all(CALLED.match(text) for text, _ in items)
    for text, count in items:
        if named:
            name, what = CALLED.match(text).groups()
            cells = " ".join(map(typeset, pieces(what)))
            html = f'<span class="named"><code>{name}</code><span>{cells}</span></span>'
        else:
            html = '<span class="formula">' + " ".join(map(typeset, pieces(text))) + "</span>"
        out.append(f" \\htmlonly{html}\\endhtmlonly")
        out += [NOTHING] * (count - 1)
    # Doxygen ends a first sentence with a stop of its own, but not behind a wide character.
    out[-count] += "\u200b"
    return out


def is_formula(line):
    return re.match(r"^ {3}\S", line)


def paths(text):
    return re.sub(r"[\w./]+/[\w./]+", lambda m: f"<code>{m[0]}</code>", text)


def headers_of(group, first):
    """What a page is about: the header that defines it, and those that join."""
    top = os.path.join(ROOT, "include")
    found = [first]
    for path in sorted(glob.glob(os.path.join(top, "softlook", "**", "*.hpp"), recursive=True)):
        with open(path, encoding="utf-8") as file:
            if re.search(rf"^/// \\addtogroup {group}$", file.read(), re.M):
                found.append(os.path.relpath(path, top))
    return "\\titled{Header}" + "<br/>".join(f"<code>\\#include &lt;{p}&gt;</code>" for p in found)


def program(command):
    """The text of an example, to be unfolded; on one line."""
    name = command.split()[1]
    with open(os.path.join(ROOT, name), encoding="utf-8") as file:
        text = escape(file.read().strip()).replace("\n", "&#10;")
    return (f" \\htmlonly[block]<details><summary>Example: <code>{name}</code></summary>"
            f'<pre class="fragment">{text}</pre></details>\\endhtmlonly')


def prose(line):
    line = re.sub(r"\\see (?=[A-Z])", lambda _: "\\titled{Source}", line)  # papers, by their authors
    line = line.replace(" -> ", " → ")
    line = re.sub(r"(?<!\\)\bCost( [a-z ]*)?:(?= |$)", lambda m: f"\\titled{{Cost{m[1] or ''}}}", line)
    if SHAPES.match(line.strip()):
        line = " \\titled{Shapes}" + line
    return line


def documented(lines, path):
    """The contents of one comment, without the slashes."""
    out, at, section, includes = [], 0, "", ""
    while at < len(lines):
        line = lines[at]
        if is_formula(line) and not section:
            end = at
            while end < len(lines) and lines[end].startswith("   "):
                end += 1
            out += formulas(lines[at:end])
            at = end
            continue
        if line.startswith("     ") and not section and out and not out[-1].strip():
            end = at
            while end < len(lines) and (lines[end].startswith("     ") or not lines[end].strip()):
                end += 1
            while not lines[end - 1].strip():
                end -= 1
            out[-1] = " \\code{.cpp}"
            out += lines[at:end]
            out[-1] += " \\endcode"
            at = end
            continue
        text = line.strip()
        command = SECTION.match(text)
        if text.startswith("\\defgroup"):
            includes = headers_of(text.split()[1], path)
        if text == r"\{":
            line = f" {includes} \\{{"
        elif text.startswith("\\cases"):
            section = "cases"
            line = f" {includes} \\titled{{Cases and tests}}" + paths(line[7:])
            includes = ""
        elif text.startswith("\\program"):
            section = ""
            line = program(text)
        elif section == "cases" and line.startswith("  "):
            line = paths(line)
        elif command:
            again = section == "throws" and command[1] == "throws"
            line = line.replace("\\throws", "<br/>" if again else "\\titled{Throws}")
            section = command[1]
        elif not text:
            section = ""
        elif section and not line.startswith("  ") and out[-1].rstrip().endswith("."):
            section = ""
            out.append((" " if SHAPES.match(text) else " \\then ") + prose(line).strip())
            at += 1
            continue
        out.append(prose(line))
        at += 1
    return out


def filtered(path):
    name = re.sub(r"^.*include/", "", path)
    with open(path, encoding="utf-8") as file:
        source = file.read().split("\n")
    out, at, group, inside = [], 0, "", False
    while at < len(source):
        # Doxygen's groups end at namespaces: what is inside of one joins by itself.
        if re.match(r"namespace \w+ {", source[at]):
            inside = bool(group)
        elif source[at].startswith("}  // namespace"):
            inside = False
        comment = COMMENT.match(source[at])
        if not comment or comment[2]:
            if PROTOCOL.match(source[at]) and not COMMENT.match(source[at - 1]):
                while not source[at].endswith("}") or source[at].startswith("   "):
                    out.append("")
                    at += 1
                out.append("")
            else:
                out.append("" if KIND.match(source[at]) else source[at])
            at += 1
            continue
        end = at
        while end < len(source) and COMMENT.match(source[end]) and not COMMENT.match(source[end])[2]:
            end += 1
        lines = documented([COMMENT.match(s)[3] for s in source[at:end]], name)
        named = re.search(r"\\(?:defgroup|addtogroup) (\w+)", source[at])
        if named:  # a name that no prose can be taken for
            group = "page_" + named[1]
            lines[0] = lines[0].replace(named[1], group, 1)
        elif inside and not comment[1]:
            lines[-1] += f" \\ingroup {group}"
        out += [comment[1] + "///" + line for line in lines]
        at = end
    return "\n".join(out)


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")
    try:
        print(filtered(sys.argv[1]), end="")
    except ValueError as error:
        sys.exit(f"{sys.argv[1]}: {error}")
