"""The formulas of the headers, which are plain text, as MathML: browsers draw it without a script.

>>> to_mathml('e^−x')
'<math><msup><mi>e</mi><mrow><mo form="prefix">−</mo><mi>x</mi></mrow></msup></math>'
>>> to_mathml('S_iᵀ√d')
'<math><msubsup><mi>S</mi><mi>i</mi><mi mathvariant="normal">T</mi></msubsup><msqrt><mi>d</mi></msqrt></math>'
>>> to_mathml('x_{j + 1}')
'<math><msub><mi>x</mi><mrow><mi>j</mi><mo>+</mo><mn>1</mn></mrow></msub></math>'
>>> to_mathml('soft_align(W1)')
'<math><mi>soft_align</mi><mo stretchy="false">(</mo><msub><mi>W</mi><mn>1</mn></msub><mo stretchy="false">)</mo></math>'
>>> to_mathml('Σ_j α_ij')
'<math><munder><mo movablelimits="false">∑</mo><mi>j</mi></munder><msub><mi>α</mi><mrow><mi>i</mi><mi>j</mi></mrow></msub></math>'
>>> to_mathml('Q(K')
Traceback (most recent call last):
ValueError: brackets do not match in: Q(K
"""

import re
from html import escape

RAISED = dict(zip("ᵀ⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾", "T0123456789+−()"))
LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₙₘ₊", "0123456789ijknm+"))
OPENING, CLOSING = "([{⌊⌈", ")]}⌋⌉"

TOKEN = re.compile(r"""
    (?P<space>\s+)
  | (?P<name>[A-Za-z]{2,}(?:_[A-Za-z]{3,})+ | [A-Za-z]+(?:-[A-Za-z]+)+)
  | (?P<weights>[Wb][qkvoxhcs](?![A-Za-z]))
  | (?P<word>[A-Za-z]{2,}(?:'s\b)?)
  | (?P<letter>[A-Za-zα-ωΓΔΘΛΞΦΨΩ∞…]\u0303?)
  | (?P<number>\d+(?:\.\d+)?)
  | (?P<big>[ΣΠ∑∏])
  | (?P<operator>\+=|.)
""", re.VERBOSE)
PRIME = '<mo lspace="0" rspace="0">′</mo>'
WIDE = '<mspace width="0.33em"/>'
SUBSCRIPT = re.compile(r"[A-Za-z0-9α-ω∞]+'?")


def row(nodes):
    return nodes[0] if len(nodes) == 1 else "<mrow>" + "".join(nodes) + "</mrow>"


def letters(run):
    """i j for ij, but one name for a longer word."""
    parts = [run] if run.isalpha() and len(run) > 2 else re.findall(r"\d+|[^\d]", run)
    return [f"<mn>{p}</mn>" if p.isdigit() else f"<mi>{p}</mi>" for p in parts]


class Formula:
    def __init__(self, text):
        self.text = text
        self.at = 0

    def peek(self, offset=0):
        at = self.at + offset
        return self.text[at] if at < len(self.text) else ""

    def group(self, closing):
        """The nodes up to a closing bracket, which is passed."""
        nodes = self.sequence(closing)
        if self.peek() != closing:
            raise ValueError("brackets do not match in: " + self.text)
        self.at += 1
        return nodes

    def argument(self):
        """What _, ^ and √ apply to, as one node."""
        c = self.peek()
        if c in "{(" and c:
            self.at += 1
            return row(self.group("}" if c == "{" else ")"))
        if c in "−-+" and c:
            self.at += 1
            return row([f'<mo form="prefix">{c}</mo>', self.argument()])
        run = SUBSCRIPT.match(self.text, self.at)
        if not run:
            raise ValueError("an index or exponent is missing in: " + self.text)
        self.at = run.end()
        name = run.group()
        nodes = letters(name.rstrip("'"))
        if name.endswith("'"):
            nodes.append(PRIME)
        return row(nodes)

    def scripts(self, base, below=None, limits=False):
        """A node with all indices and exponents that follow it."""
        above = None
        while True:
            c = self.peek()
            if c == "_" and below is None:
                self.at += 1
                below = self.argument()
            elif c == "_" and self.peek(1):  # Wq_h: a second index
                self.at += 1
                below = row([below, '<mo separator="true">,</mo>', self.argument()])
            elif c == "^":
                self.at += 1
                above = self.argument()
            elif c == "'":
                self.at += 1
                base = row([base, PRIME])
            elif c and c in RAISED:
                run = ""
                while self.peek() and self.peek() in RAISED:
                    run += RAISED[self.peek()]
                    self.at += 1
                above = row(['<mi mathvariant="normal">T</mi>' if r == "T" else
                             f"<mn>{r}</mn>" if r.isdigit() else f"<mo>{r}</mo>" for r in run])
            elif c and c in LOWERED:
                run = ""
                while self.peek() and self.peek() in LOWERED:
                    run += LOWERED[self.peek()]
                    self.at += 1
                below = row([f"<mn>{r}</mn>" if r.isdigit() else f"<mi>{r}</mi>" for r in run])
            else:
                break
        tags = ("munder", "mover", "munderover") if limits else ("msub", "msup", "msubsup")
        if below and above:
            return f"<{tags[2]}>{base}{below}{above}</{tags[2]}>"
        if below:
            return f"<{tags[0]}>{base}{below}</{tags[0]}>"
        if above:
            return f"<{tags[1]}>{base}{above}</{tags[1]}>"
        return base

    def operator(self, c, first):
        if c == "√":
            return f"<msqrt>{self.argument_of_root()}</msqrt>"
        if c in "|‖":
            return self.scripts(f'<mo stretchy="false" lspace="0" rspace="0">{c}</mo>')
        if c in "→←" and self.peek().isalpha():  # a vector's arrow, or a direction of reading
            letter = self.peek()
            self.at += 1
            return self.scripts(f"<mover><mi>{letter}</mi><mo>{c}</mo></mover>")
        if c in "−-+" and first:
            return f'<mo form="prefix">{c}</mo>'
        if c == "~":
            return "<mo>∼</mo>"
        if c in OPENING + CLOSING:
            return f'<mo stretchy="false">{c}</mo>'
        return f"<mo>{escape(c)}</mo>"

    def argument_of_root(self):
        if self.peek() in "({" and self.peek():
            return self.argument()
        token = TOKEN.match(self.text, self.at)
        self.at = token.end()
        kind = "mn" if token.lastgroup == "number" else "mi"
        return self.scripts(f"<{kind}>{token.group()}</{kind}>")

    def atom(self, kind, text):
        if kind == "letter":
            if len(text) == 2:
                return self.scripts(f"<mover><mi>{text[0]}</mi><mo>~</mo></mover>")
            digits = re.compile(r"\d+").match(self.text, self.at)
            if digits:
                self.at = digits.end()
                return self.scripts(f"<mi>{text}</mi>", f"<mn>{digits.group()}</mn>")
            return self.scripts(f"<mi>{text}</mi>")
        if kind == "weights":
            return self.scripts(f"<mi>{text[0]}</mi>", f"<mi>{text[1]}</mi>")
        if kind == "number":
            return self.scripts(f"<mn>{text}</mn>")
        if kind == "big":
            sign = {"Σ": "∑", "Π": "∏"}.get(text, text)
            return self.scripts(f'<mo movablelimits="false">{sign}</mo>', limits=True)
        return self.scripts(f"<mi>{text}</mi>")  # word, name

    def sequence(self, closing=""):
        nodes, before, first = [], "", True
        while self.at < len(self.text) and self.peek() != closing:
            token = TOKEN.match(self.text, self.at)
            kind, text = token.lastgroup, token.group()
            self.at = token.end()
            if kind == "space":
                before = before and before + " "
                continue
            if kind == "operator" and text in OPENING:
                if before == "word ":
                    nodes.append(WIDE)
                nodes.append(self.operator(text, first))
                inner = CLOSING[OPENING.index(text)]
                nodes += self.group(inner)
                nodes.append(self.scripts(self.operator(inner, False)))
                before, first = "bracket", False
                continue
            if kind == "operator" and text in CLOSING:
                raise ValueError("brackets do not match in: " + self.text)
            if kind == "operator":
                nodes.append(self.operator(text, first))
                before = {"√": "letter", "|": "letter", "‖": "letter", ",": ","}.get(text, "")
                first = text in "=(,←≤<>·" or text == "≥"
                continue
            if before.endswith(" "):  # words keep their distance, factors a smaller one
                wide = "word" in (kind, before.strip()) or "name" in (kind, before.strip())
                if wide or before != ", ":
                    nodes.append(WIDE if wide else '<mspace width="0.17em"/>')
            nodes.append(self.atom(kind, text))
            before, first = "" if kind == "big" else kind, False
        return nodes


def to_mathml(text):
    formula = Formula(text.strip())
    return "<math>" + "".join(formula.sequence()) + "</math>"


MATHS = re.compile(r"\b [<>] \b|[=·√ΣΠ^∘∗←≤≥]|\b\w_\w\b|^(min|max)\(|^\|")


def typeset(cell):
    """A piece of a line: a formula, or words."""
    cell = cell.strip()
    if MATHS.search(cell) and "::" not in cell:
        return to_mathml(cell)
    return f"<span>{escape(cell)}</span>"
