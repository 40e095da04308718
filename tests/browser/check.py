"""python3 check.py CHROMIUM FOLDER [REPORT...]: opens the reports that `pages` wrote to FOLDER, uses
them as a reader would, checks what they show, and leaves screenshots there. Of other reports it
chooses every head."""

import math
import os
import sys

from chromium import Browser

TEXT = "document.getElementById('%s').textContent"
# The colours of a canvas from (x, y), in CSS pixels: width and height in its own. Read from a copy,
# because the browser warns of pages that read their canvases often.
PROBE = """window.probe = (id, x, y, width = 1, height = 1) => {
  const canvas = document.getElementById(id), sharp = canvas.width / parseFloat(canvas.style.width);
  const copy = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  copy.drawImage(canvas, x * sharp, y * sharp, width, height, 0, 0, width, height);
  return [...copy.getImageData(0, 0, width, height).data];
}; 0"""
BOX = ("(() => { const r = document.getElementById('%s').getBoundingClientRect();"
       " return [r.x, r.y, r.width, r.height]; })()")


class Page:
    def __init__(self, browser, folder):
        self.browser, self.folder, self.name, self.checks = browser, folder, None, 0

    def open(self, name, path=None):
        self.name = name
        path = path or os.path.join(self.folder, name + ".html")
        self.browser.mouse(0, 0)
        self.browser.open(path)
        self.browser.js(PROBE)
        self.equal("it asks for nothing but itself", self.browser.requests(), ["file://" + path])

    def equal(self, what, is_, wanted):
        self.checks += 1
        if is_ != wanted:
            self.browser.screenshot(os.path.join(self.folder, "failed.png"))
            raise AssertionError(f"{self.name}: {what}:\n  is     {is_!r}\n  wanted {wanted!r}")

    def true(self, what, is_):
        self.equal(what, bool(is_), True)

    def text(self, element):
        """Without the marks that isolate names from each other."""
        return self.browser.js(TEXT % element).replace("\u2068", "").replace("\u2069", "")

    def faultless(self):
        self.equal("no script failed and nothing was logged", self.browser.faults(), [])

    def box(self, element):
        self.browser.js(f"document.getElementById('{element}').scrollIntoView({{block: 'nearest'}})")
        return self.browser.js(BOX % element)

    def cell(self, query, key, click=False):
        x, y, _, _ = self.box("map")
        left, top, cell = self.browser.js("[place.left, place.top, place.cell]")
        self.browser.mouse(x + left + (key + 0.5) * cell, y + top + (query + 0.5) * cell, click)

    def click(self, element):
        x, y, width, height = self.box(element)
        self.browser.mouse(x + width / 2, y + height / 2, click=True)

    def click_head(self, number):
        x, y, width, height = self.browser.js(
            f"(() => {{ const b = document.querySelectorAll('#grid button')[{number}];"
            " b.scrollIntoView({block: 'nearest'}); const r = b.getBoundingClientRect();"
            " return [r.x, r.y, r.width, r.height]; })()")
        self.browser.mouse(x + width / 2, y + height / 2, click=True)

    def pixel(self, element, x, y):
        """The colour at a place of a canvas, in CSS pixels."""
        return self.browser.js(f"probe('{element}', Math.floor({x}), Math.floor({y}))")

    def colour_of_cell(self, query, key):
        left, top, cell = self.browser.js("[place.left, place.top, place.cell]")
        return self.pixel("map", left + (key + 0.15) * cell, top + (query + 0.15) * cell)[:3]

    def shot(self, name):
        self.browser.screenshot(os.path.join(self.folder, name + ".png"))


def peaks(layer, head, tokens, query):
    """The weights of pages.cpp."""
    row = [math.exp(-0.5 * (layer + 1) * abs(key - query - head + 3)) for key in range(tokens)]
    return [x / sum(row) for x in row]


def shown_weight(text):
    return float(text.split()[-1])


def alignment(page):
    """Numbers that are known by heart: je t' aime / I love you . [PAD]"""
    page.open("alignment")
    page.equal("title", [page.text("title"), page.browser.js("document.title")], ["alignment"] * 2)
    page.equal("one head", page.browser.js("document.querySelectorAll('#grid button').length"), 1)
    page.cell(1, 3)
    page.equal("hover", page.text("reading"), "t' \u2192 .  0.65000")
    page.equal("hover, at the mouse", page.text("tip"), "t' \u2192 .  0.65000")
    page.true("the tip is shown", not page.browser.js("document.getElementById('tip').hidden"))
    page.cell(2, 4)
    page.equal("a masked pair", page.text("reading"), "aime \u2192 [PAD]  0")
    page.equal("the darkest colour", page.colour_of_cell(0, 4), [68, 1, 84])
    page.equal("the brightest colour", page.colour_of_cell(0, 0), [253, 231, 37])
    page.cell(2, 1, click=True)
    page.equal("a click chooses the query", page.browser.js("document.getElementById('query').value"), "2")
    best = page.browser.js("[...document.querySelectorAll('#strongest li')].map("
                           "(item) => item.textContent.replace(/[\u2068\u2069]/g, ''))")
    page.equal("its keys, strongest first, without the masked one",
               [item.split()[0] for item in best], ["love", "I", "you", "."])
    for item, weight in zip(best, (0.75, 0.125, 0.0625, 0.0625)):
        page.true("their weights within what is stated", abs(shown_weight(item) - weight) < 1.2e-5)
    page.true("precision is stated", "16 bits: what is shown is within 0.000012 of" in page.text("precision"))
    page.faultless()


def lines(page):
    """Thickness of the line where it arrives: many pixels for a strong key, none for a masked one."""
    page.open("alignment")
    page.browser.js("chooseQuery(0)")
    accent = page.browser.js("themed('--accent')")
    wanted = [int(accent[k:k + 2], 16) for k in (1, 3, 5)]

    def thickness(key):
        column = page.browser.js(f"probe('lines', lines.right - 2, Math.round(keyAt({key})) - 9, 1, 18)")
        return sum(alpha > 60 for alpha in column[3::4])

    strong, weak, masked = thickness(0), thickness(2), thickness(4)
    page.true(f"lines are as thick as weights: {strong}, {weak}, {masked}", 12 <= strong <= 16 and weak <= 3 and masked == 0)
    line = page.browser.js("[lines.left, rowAt(0)]")
    page.equal("in the accent's colour", [abs(a - b) < 40 for a, b in zip(page.pixel("lines", line[0] + 3, line[1])[:3], wanted)], [True] * 3)

    x, y, _, height = page.box("lines")
    page.browser.mouse(x + 30, y + page.browser.js("rowAt(1)"), click=True)
    page.equal("a click on a token chooses it", page.browser.js("[state.query, document.getElementById('query').value]"), [1, "1"])
    right, at = page.browser.js("[lines.right + 20, keyAt(2)]")
    page.browser.mouse(x + right, y + at)
    page.equal("hover over a key", page.text("tip"), "t' \u2192 you  0.25000")
    page.browser.js("document.getElementById('lines').focus()")
    page.browser.key("ArrowDown")
    page.equal("the next query by keyboard", page.browser.js("state.query"), 2)
    page.browser.js("const q = document.getElementById('query'); q.value = '0'; q.dispatchEvent(new Event('change'))")
    page.equal("by the list", page.browser.js("state.query"), 0)
    page.faultless()


def heads_and_keys(page):
    """Everything that a mouse does in the grid and the map, and the keyboard."""
    page.open("five")
    page.click_head(6)
    page.equal("a head is chosen", page.text("map-title"), "layer 1, head 2")
    page.equal("and marked", page.browser.js("[...document.querySelectorAll('#grid button')].map("
                                             "(b) => b.getAttribute('aria-pressed')).indexOf('true')"), 6)
    for query, key in ((0, 0), (3, 2), (4, 4)):
        page.cell(query, key)
        wanted = peaks(1, 2, 5, query)[key]
        page.true(f"weight {query}, {key}", abs(shown_weight(page.text("reading")) - wanted) < 1e-5)
    page.shot("five_light")

    page.browser.js("document.querySelector('#grid button[aria-pressed=true]').focus()")
    page.browser.key("ArrowUp")
    page.browser.key("ArrowRight")
    page.equal("arrows in the grid", page.text("map-title"), "layer 0, head 3")
    page.equal("focus goes along", page.browser.js("document.activeElement.getAttribute('aria-label')"), "layer 0, head 3")
    reached = []
    for _ in range(5):
        page.browser.key("Tab")
        reached.append(page.browser.js("document.activeElement.id"))
    page.equal("Tab reaches every part", reached, ["query", "lines", "smaller", "larger", "map"])
    for key in ("Home", "ArrowUp", "ArrowRight"):  # from the cell that the mouse was at
        page.browser.key(key)
    page.equal("arrows in the map", page.text("reading").split("  ")[0], "a3 \u2192 animal1")
    page.browser.key("End")
    page.equal("End", page.text("reading").split("  ")[0], "a3 \u2192 very4")
    page.browser.key("Enter")
    page.equal("Enter chooses the query", page.browser.js("state.query"), 3)
    before = page.browser.js("place.cell")
    page.click("larger")
    page.true("larger cells", page.browser.js("place.cell") > before)
    page.click("smaller")

    whole = page.text("high")
    page.click("own")
    page.true("a scale of its own", float(page.text("high")) < float(whole))
    page.equal("whose end is the strongest weight", page.colour_of_cell(4, 4), [253, 231, 37])
    page.faultless()


def themes(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(20, 23, 28)"
    page.browser.prefer("dark")
    page.open("five")
    page.equal("dark, as the system says", page.browser.js(ground), dark)
    page.click_head(7)
    page.cell(1, 2)
    page.shot("five_dark")
    page.browser.prefer("light")
    page.equal("light, when the system changes", page.browser.js(ground), light)
    page.click("theme")
    page.equal("dark by the switch", [page.browser.js(ground), page.text("theme")], [dark, "Light"])
    page.browser.prefer("dark")
    page.browser.prefer("light")
    page.equal("the switch stays", page.browser.js(ground), dark)
    page.click("theme")
    page.equal("light by the switch", page.browser.js(ground), light)
    page.faultless()


def many(page):
    page.open("many")
    page.equal("shown first", page.text("map-title"), "layer 2, head 5")
    page.equal("72 heads", page.browser.js("document.querySelectorAll('#grid canvas').length"), 72)
    page.click_head(40)
    for query, key in ((0, 0), (64, 65), (127, 127), (100, 101)):
        page.cell(query, key)
        page.true(f"weight {query}, {key}: {page.text('reading')}",
                  abs(shown_weight(page.text("reading")) - peaks(3, 4, 128, query)[key]) < 2e-5)
    page.cell(64, 65, click=True)
    page.equal("the strongest key", page.browser.js("document.querySelector('#strongest li').textContent").split()[0], "\u2068animal65\u2069")
    page.shot("many_light")
    page.click("theme")
    page.shot("many_dark")
    page.true("the map lies beside the grid", page.box("map")[0] > page.box("grid")[0] + page.box("grid")[2])
    page.browser.size(420, 900)
    page.true("nothing is wider than a narrow window",
              page.browser.js("document.documentElement.scrollWidth <= innerWidth"))
    page.shot("many_narrow")
    page.browser.size(1500, 1000)
    page.faultless()


def most(page):
    page.open("most")
    page.cell(200, 198)
    page.true("8 bits", abs(shown_weight(page.text("reading")) - peaks(0, 0, 256, 200)[198]) < 2e-3)
    page.browser.js("document.getElementById('map').focus()")
    page.browser.key("ArrowLeft")
    page.true("the cell beside it", abs(shown_weight(page.text("reading")) - peaks(0, 0, 256, 200)[197]) < 2e-3)
    page.shot("most")
    page.faultless()


def hostile(page):
    page.open("hostile")
    page.equal("title", [page.text("title"), page.browser.js("document.title")], ["<b>&amp;</b></title>\""] * 2)
    page.equal("names are text", page.browser.js("document.querySelectorAll('img, b, section script').length"), 0)
    page.equal("two scripts", page.browser.js("document.querySelectorAll('script').length"), 2)
    for key, wanted in ((0, "inf"), (1, "-inf"), (2, "0")):
        page.cell(1, key)
        page.equal("weight", page.text("reading").split()[-1], wanted)
    page.cell(0, 3)
    page.true("NaN", page.text("reading").startswith("</script><script>document.title='broken'</script> \u2192 ")
              and page.text("reading").endswith("  NaN"))
    page.equal("colour of NaN", page.colour_of_cell(2, 0) != page.pixel("map", 0, 0)[:3], True)
    page.equal("the unusual are explained", page.text("unusual").split(), ["NaN", "inf", "-inf"])
    page.shot("hostile")
    page.faultless()


def given(page, path):
    """A report of another program."""
    name = os.path.splitext(os.path.basename(path))[0]
    page.open(name, path)
    for number in range(page.browser.js("document.querySelectorAll('#grid button').length")):
        page.click_head(number)
        page.equal("the head is chosen", page.browser.js("state.layer * data.heads.length + state.head"), number)
    page.open(name, path)  # to see what it shows first
    page.cell(0, 0, click=True)
    page.true("a weight", math.isfinite(shown_weight(page.text("reading"))))
    page.shot("given_" + name)
    page.faultless()


def main():
    program, folder = sys.argv[1], os.path.abspath(sys.argv[2])
    browser = Browser(program)
    try:
        page = Page(browser, folder)
        for part in (alignment, lines, heads_and_keys, themes, many, most, hostile):
            browser.prefer("light")
            part(page)
        for path in sys.argv[3:]:
            given(page, os.path.abspath(path))
        print(f"{page.checks} checks passed; screenshots are in {folder}")
    finally:
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, RuntimeError) as fault:
        print(fault, file=sys.stderr)
        sys.exit(1)
