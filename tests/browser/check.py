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
WORDS = ["the", "animal", "crossed", "a", "very", "unbelievable", "street", "it"]  # of pages.cpp
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
        at_x, at_y = self.place_of(query + 0.5, key + 0.5)
        self.browser.mouse(x + at_x, y + at_y, click)

    def place_of(self, query, key):
        """In the map, in CSS pixels."""
        return self.browser.js(f"[place.left + ({key} - view.col) * place.across, place.top + ({query} - view.row) * place.down]")

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
        return self.pixel("map", *self.place_of(query + 0.15, key + 0.15))[:3]

    def click_first(self, parent):
        x, y, width, height = self.browser.js(
            f"(() => {{ const b = document.querySelector('#{parent} button'); b.scrollIntoView({{block: 'nearest'}});"
            " const r = b.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()")
        self.browser.mouse(x + width / 2, y + height / 2, click=True)

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
    page.browser.mouse(x + right, y + page.browser.js("keyAt(1)"))
    page.true("who else looks at it", page.browser.js("probe('lines', lines.left + 2, rowAt(2))[3] > 60"))
    page.browser.mouse(x + right, y + page.browser.js("keyAt(4)"))
    page.true("nobody at a masked one", page.browser.js("probe('lines', lines.left + 2, rowAt(2))[3] === 0"))
    page.browser.js("document.getElementById('lines').focus()")
    page.browser.key("ArrowDown")
    page.equal("the next query by keyboard", page.browser.js("state.query"), 2)
    page.browser.js("const q = document.getElementById('query'); q.value = '0'; q.dispatchEvent(new Event('change'))")
    page.equal("by the list", page.browser.js("state.query"), 0)
    page.faultless()


def strips(page):
    """Sums of keys below the map, entropies of queries beside it."""
    page.open("alignment")
    accent = page.browser.js("themed('--accent')")
    wanted = [int(accent[k:k + 2], 16) for k in (1, 3, 5)]
    filled = lambda x, y: page.pixel("map", x, y)[:3] == wanted
    below, beside = page.browser.js("[place.top + place.height + stripGap, place.left + place.width + stripGap]")
    middle = lambda query, key: page.place_of(query + 0.5, key + 0.5)
    # 0.94 + ... of the largest, 1.065: of 18 pixels, by the root
    sums = [1.065, 0.84, 0.3625, 0.7325, 0]
    for key, total in enumerate(sums):
        bar = 18 * math.sqrt(total / max(sums))
        heights = [filled(middle(0, key)[0], below + at) for at in (bar - 2, bar + 2)]
        page.equal(f"the bar of key {key}", heights, [total > 0, False])
    x, y, _, _ = page.box("map")
    page.browser.mouse(x + middle(0, 1)[0], y + below + 5)
    page.equal("its sum, at the mouse", page.text("tip"), "love: weight 0.84 of 3 queries")
    for query, row in enumerate(([0.9, 0.03, 0.05, 0.02], [0.04, 0.06, 0.25, 0.65], [0.125, 0.75, 0.0625, 0.0625])):
        nats = -sum(p * math.log(p) for p in row)
        bar = 18 * nats / math.log(5)
        widths = [filled(beside + at, middle(query, 0)[1]) for at in (bar - 2, bar + 2)]
        page.equal(f"the bar of query {query}", widths, [True, False])
        page.browser.mouse(x + beside + 3, y + middle(query, 0)[1])
        page.true("its entropy, at the mouse", page.text("tip").endswith(f": entropy {nats:.2f} nats"))
    page.cell(1, 3)
    page.equal("both in words", page.text("figures"), "t': entropy 0.92 nats; .: weight 0.73 of 3 queries")
    page.open("hostile")
    page.equal("no figures of what is no probability", [page.browser.js("figuresOf(0).sums"), page.text("figures")], [None, ""])
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
    for _ in range(16):
        page.browser.key("Tab")
        reached.append(page.browser.js("document.activeElement.id || document.activeElement.parentElement.tagName"))
    page.equal("Tab reaches every part", reached, ["query", "play", "speed", "wanted", "side", "next", "lines"] +
               ["LI"] * 5 + ["smaller", "larger", "all", "map"])
    for key in ("Home", "ArrowUp", "ArrowRight"):  # from the cell that the mouse was at
        page.browser.key(key)
    page.equal("arrows in the map", page.text("reading").split("  ")[0], "a3 \u2192 animal1")
    page.browser.key("End")
    page.equal("End", page.text("reading").split("  ")[0], "a3 \u2192 very4")
    page.browser.key("Enter")
    page.equal("Enter chooses the query", page.browser.js("state.query"), 3)
    before = page.browser.js("place.across")
    page.click("larger")
    page.true("larger cells", page.browser.js("place.across") > before)
    page.click("all")
    page.equal("and the whole again", page.browser.js("place.across"), before)

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


MOST_MS = 5000   # until a page of 100,000 tokens is drawn, on a slow core that others use too
STEP_MS = 60     # for a step from a query to the next, everything drawn
NODES = 900      # elements of a page


def smooth(page):
    """Figures that no number of tokens may raise."""
    drawn = page.browser.js("performance.getEntriesByName('drawn')[0].startTime")
    step = page.browser.js("(() => { const t = performance.now(); for (let k = 0; k < 50; ++k) chooseQuery(k * 997 % rows);"
                           " return (performance.now() - t) / 50; })()")
    nodes = page.browser.js("document.querySelectorAll('*').length")
    print(f"{page.name}: drawn after {drawn:.0f} ms, {step:.1f} ms for a step, {nodes} elements")
    page.true(f"drawn after {drawn:.0f} ms", drawn < MOST_MS)
    page.true(f"{step:.1f} ms for a step", step < STEP_MS)
    page.true(f"{nodes} elements", nodes < NODES)


def find(page, text, side="queries"):
    page.browser.js(f"document.getElementById('wanted').value = ''; document.getElementById('side').value = '{side}';"
                    " document.getElementById('wanted').focus()")
    page.browser.type(text)
    page.browser.key("Enter")


def wait(page, what, condition):
    page.true(what, page.browser.js(
        "new Promise((done) => { const end = performance.now() + 10000; (function look() {"
        f" if ({condition}) done(true); else if (performance.now() > end) done(false); else setTimeout(look, 5); }})(); }})"))


def strongest(page):
    return page.browser.js("[...document.querySelectorAll('#strongest li')].map("
                           "(item) => item.textContent.replace(/[\u2068\u2069]/g, ''))")


def long_map(page):
    """100,000 tokens: means of blocks, the strongest keys, a region to zoom into. The weights of pages.cpp."""
    page.open("long")
    smooth(page)
    page.browser.js("chooseQuery(0)")
    page.equal("a query without a key", page.text("strongest"), "no key")
    page.shot("long_whole")

    # Means of blocks, away from the diagonal.
    page.cell(80250, 20250)
    wanted = 1e-5 * 41 / 161
    text = page.text("reading")
    page.true(f"a mean of a block: {text}", abs(float(text.split("  ")[1].split(",")[0]) - wanted) < 2e-10)
    page.true("which says so", text.endswith("the mean of 250000 weights"))

    # Sums from the pixels, entropies as they were given: query i of 100,000 has i hundred-thousandths of ln n.
    wanted = sum(500 * 1e-5 * 41 / (r + 1) for r in range(40, 200))
    page.true("the sum of a key", abs(page.browser.js("figuresOf(0).sums[40]") - wanted) < 1e-3)
    page.browser.js("pointAt([80250, 20250])")
    page.equal("and the entropy of a query, in words", page.text("figures"),
               f"crossed80250 #80250: entropy {0.8025 * math.log(1e5):.2f} nats; "
               f"crossed20250 #20250: weight {wanted:.2f} of 100000 queries, the mean of its block")
    accent = page.browser.js("themed('--accent')")
    wanted = [int(accent[k:k + 2], 16) for k in (1, 3, 5)]
    bar = page.browser.js("[place.left + place.width + stripGap + 6, place.top, place.height]")
    page.equal("drawn beside the map", [page.pixel("map", bar[0], bar[1] + part * bar[2])[:3] == wanted for part in (0.25, 0.5)],
               [False, True])

    # The strongest keys, exactly, wherever the map is.
    page.browser.js("chooseQuery(60007)")
    keys = [60007 // c for c in range(1, 6)]
    page.equal("the strongest keys", [item.split()[:2] for item in strongest(page)],
               [[f"{WORDS[key % 8]}{key}", f"#{key}"] for key in keys])
    for item, c in zip(strongest(page), range(1, 6)):
        page.true("their weights within what is stated", abs(shown_weight(item) - 0.5 ** c) < 1e-5)
    page.equal("who looks at a key", page.browser.js("lookers(0, 30003).map((pair) => pair[0])"),
               [30003, 60006, 60007, 90009, 90010, 90011])
    page.true("a screen reader hears it", page.text("spoken").startswith(
        "query it60007 #60007 looks at it60007 #60007  0.5"))
    page.browser.js("document.querySelectorAll('#strongest button')[1].click()")
    page.equal("a click on one of them shows it", page.browser.js("state.cell"), [60007, 30003])
    text = page.text("reading")
    page.true(f"in the map: {text}", "#30003  " in text and abs(shown_weight(text) - 0.25) < 1e-5)
    page.browser.js("zoom(1e9, (30003.5 - view.col) * place.across, (60007.5 - view.row) * place.down); reveal(60007, 30003)")
    page.true("drawn as a cell of its own", all(abs(a - b) < 3 for a, b in zip(
        page.colour_of_cell(60007, 30003), page.browser.js("colourOf(0.25, shown().scale)"))))
    page.true("beside cells that are known as a mean only", page.colour_of_cell(60007, 30002)[:2] == [68, 1])
    page.equal("on the scale of what is in view", page.text("high"), "0.2500")
    page.shot("long_cells")

    # The region, exactly.
    page.click_first("regions")
    page.true("a button leads to the region", page.browser.js("shown().region !== null"))
    for i, j in ((0, 0), (7, 30), (39, 39), (20, 3)):
        page.cell(50000 + i, 30000 + j)
        wanted = (31 * i + 17 * j) % 1000 / 4000
        text = page.text("reading")
        page.true(f"an exact weight: {text}", abs(shown_weight(text) - wanted) < 5e-6 and text.split("  ")[0].endswith(f"#{30000 + j}"))
        if wanted > 0.1:
            page.true("in its colour", all(abs(a - b) < 2 for a, b in zip(
                page.colour_of_cell(50000 + i, 30000 + j), page.browser.js(f"colourOf({wanted}, shown().scale)"))))
    page.shot("long_region")
    page.click("all")
    x, y, _, _ = page.box("map")
    at_x, at_y = page.place_of(50020, 30020)
    for _ in range(2):
        page.browser.mouse(x + at_x, y + at_y, click=True)
    page.browser.call("Input.dispatchMouseEvent", type="mousePressed", x=x + at_x, y=y + at_y, button="left", clickCount=2)
    page.browser.call("Input.dispatchMouseEvent", type="mouseReleased", x=x + at_x, y=y + at_y, button="left", clickCount=2)
    page.true("so does a double click on its frame", page.browser.js("shown().region !== null"))

    # A region of means, finer than those of the map.
    page.browser.js("zoomTo(parts[0][2])")
    page.true("a region of means", page.browser.js("shown().region === parts[0][2] && view.rows >= 20000"))
    page.cell(15050, 3050)
    text = page.text("reading")
    page.true(f"a mean of it: {text}", abs(float(text.split("  ")[1].split(",")[0]) - 9e-5) < 5e-9 and
              text.endswith("the mean of 40000 weights"))
    page.shot("long_means")
    page.click("all")

    # Another head.
    page.click_head(1)
    page.browser.js("chooseQuery(70000)")
    page.equal("the other head", [item.split()[1] for item in strongest(page)], [f"#{70000 - c}" for c in range(5)])
    page.faultless()


def search(page):
    page.open("long")
    find(page, "ANIMAL65001")
    page.equal("finds a token, large or small letters", page.browser.js("state.query"), 65001)
    page.equal("and says where", page.text("found"), "animal65001 #65001, 65002 of 100000")
    find(page, "street99")
    first = page.browser.js("state.query")
    page.browser.key("Enter")
    second = page.browser.js("state.query")
    page.equal("Enter goes on to the next", [first, second], [99006, 99014])
    find(page, "#12")
    page.equal("by number", page.browser.js("state.query"), 12)
    find(page, "nowhere")
    page.equal("or not", [page.text("found"), page.browser.js("state.query")], ["not found", 12])
    find(page, "street30006", "keys")
    page.equal("a key", page.browser.js("state.cell"), [12, 30006])
    page.browser.js("const q = document.getElementById('query'); q.value = '1e9'; q.dispatchEvent(new Event('change'))")
    page.equal("no further than the last", page.browser.js("state.query"), 99999)
    page.open("unnamed")
    find(page, "41234")
    page.equal("without names by number", [page.browser.js("state.query"), strongest(page)[1].split()[0]], [41234, "20617"])
    page.true("and no text", page.browser.js("document.getElementById('text-section').hidden"))
    page.faultless()


def playing(page):
    page.open("generation")
    page.true("a strip is drawn as more than a strip", page.browser.js("place.height > place.side / 5"))
    page.browser.js("document.getElementById('speed').value = '30'")
    page.click("play")
    wait(page, "it goes from query to query", "state.query >= 5")
    page.equal("the button stops it", page.text("play"), "Pause")
    page.click("play")
    at = page.browser.js("state.query")
    page.browser.js("new Promise((done) => setTimeout(done, 200))")
    page.equal("it stands still", [page.browser.js("state.query"), page.text("play")], [at, "Play"])
    page.browser.js("document.getElementById('lines').focus()")
    page.browser.key(" ")
    wait(page, "Space plays to the end", "state.query === rows - 1 && !playing.timer")
    page.browser.js("chooseQuery(20)")
    page.equal("the text marks the query", page.browser.js("document.querySelector('#text .query').textContent"), "very420")
    page.true("and what it looks at", page.browser.js("[...document.querySelectorAll('#text .seen')].length > 5"))
    page.shot("generation_light")
    page.click("theme")
    page.shot("generation_dark")
    x, y, width, height = page.browser.js("(() => { const r = document.querySelector('#text .query').previousElementSibling"
                                          ".previousElementSibling.getBoundingClientRect(); return [r.x, r.y, r.width, r.height]; })()")
    page.browser.mouse(x + width / 2, y + height / 2)
    page.equal("hover over a word marks its cell and its line", page.browser.js("[state.cell, state.key]"), [[20, 419], 419])
    page.faultless()


def moving(page):
    """Zoom and move by mouse and keyboard, on a dense map of 2,000 tokens."""
    page.open("dense")
    smooth(page)
    wait(page, "the small maps are drawn", "[...document.querySelectorAll('#grid canvas')].every((c) => c.width > 1)")
    page.browser.js("chooseQuery(1000)")
    page.shot("dense")
    x, y, _, _ = page.box("map")
    page.browser.js("document.getElementById('map').focus(); pointAt([1000, 997], true)")
    for _ in range(12):
        page.browser.key("+")
    page.true("keys zoom in", page.browser.js("place.across > 30 && inView.rows(1000) && inView.cols(997)"))
    page.equal("around the cell that is pointed at, drawn exactly", page.colour_of_cell(1000, 997),
               page.browser.js("colourOf(weightIn(parts[0][0], 1000, 997), shown().scale)"))
    page.shot("dense_zoomed")
    row = page.browser.js("view.row")
    page.browser.key("PageDown")
    page.true("a page down", page.browser.js("view.row") > row)
    for query, key in ((page.browser.js("Math.ceil(view.row)"), page.browser.js("Math.ceil(view.col)")),):
        page.cell(query + 1, key + 1)
        page.true("the cell under the mouse", page.text("reading").split("  ")[0].endswith(f"#{key + 1}"))
        page.true("its weight", abs(shown_weight(page.text("reading")) - peaks(0, 0, 2000, query + 1)[key + 1]) < 1e-5)
    col = page.browser.js("view.col")
    query = page.browser.js("state.query")
    page.browser.drag(x + 300, y + 300, x + 240, y + 300)
    page.true("dragging moves the map", page.browser.js("view.col") > col)
    page.equal("and chooses nothing", page.browser.js("state.query"), query)
    page.equal("the lines show the same part", page.browser.js("[rowAt(view.row - 0.5), keyAt(view.col - 0.5)]"), [8, 8])
    page.browser.key("0")
    page.true("the whole again", page.browser.js("isWhole()"))
    under = f"[view.row + ({y + 400} - document.getElementById('map').getBoundingClientRect().y - place.top) / place.down]"
    before = page.browser.js(under)[0]
    for _ in range(4):
        page.browser.wheel(x + 400, y + 400, -300, ctrl=True)
    page.true("the wheel zooms in where the mouse is", page.browser.js("view.zoom > 10") and abs(page.browser.js(under)[0] - before) < 4)
    row = page.browser.js("view.row")
    page.browser.wheel(x + 400, y + 400, 120)
    page.true("and moves", page.browser.js("view.row") > row)
    page.browser.js("showAll()")
    fingers(page)
    page.faultless()


def fingers(page):
    """Two zoom the map and move it, and nothing else; one moves it."""
    x, y, _, _ = page.box("map")
    places = lambda at_x, at_y: page.browser.js(
        f"(() => {{ const r = document.getElementById('map').getBoundingClientRect();"
        f" const at = under({at_x} - r.x - place.left, {at_y} - r.y - place.top); return [at.row, at.col]; }})()")
    query, zoom = page.browser.js("[state.query, view.zoom]")
    before = places(x + 400, y + 400)
    page.browser.pinch(x + 400, y + 400, 60, 300)
    after, grown = places(x + 400, y + 400), page.browser.js("view.zoom") / zoom
    page.true(f"two fingers zoom as they part: {grown:.2f}", 4.5 < grown < 5.5)
    page.true(f"around what is between them: {before} {after}", all(abs(a - b) < 6 for a, b in zip(before, after)))
    before = places(x + 400, y + 400)
    page.browser.pinch(x + 400, y + 400, 200, 200, x + 300, y + 340)
    after = places(x + 300, y + 340)
    page.true(f"and move it: {before} {after}", all(abs(a - b) < 6 for a, b in zip(before, after)))
    before = places(x + 400, y + 400)
    page.browser.touch("touchStart", (x + 400, y + 400))
    for step in range(1, 6):
        page.browser.touch("touchMove", (x + 400 - 10 * step, y + 400 - 8 * step))
    page.browser.touch("touchEnd")
    page.browser.frames()
    after = places(x + 350, y + 360)
    page.true(f"one finger moves it: {before} {after}", all(abs(a - b) < 6 for a, b in zip(before, after)))
    page.browser.pinch(x + 400, y + 400, 300, 30)
    page.true("two fingers that meet lead back to the whole", page.browser.js("isWhole()"))
    page.equal("none of it chooses a query or zooms the page", page.browser.js("[state.query, visualViewport.scale, scrollX]"), [query, 1, 0])
    page.equal("no finger is left", page.browser.js("[fingers.size, pinch]"), [0, None])


def for_screen_readers(page):
    """What the browser tells them: everything that takes the focus has a role and a name."""
    page.open("five")
    nodes = page.browser.call("Accessibility.getFullAXTree")["nodes"]
    found = {}
    for node in nodes:
        value = lambda field: node.get(field, {}).get("value", "")
        if any(p["name"] == "focusable" and p["value"].get("value") for p in node.get("properties", [])):
            found.setdefault(value("role"), []).append(value("name"))
    found.pop("RootWebArea", None)
    page.equal("no name is missing", [role for role, names in found.items() if not all(names)], [])
    page.equal("the canvases", sorted(found.get("application", [])),
               ["Lines from the0 of layer 0, head 0: 5 queries, 5 keys; arrow keys choose it",
                "Weights of layer 0, head 0: 5 queries, 5 keys; arrow keys choose a cell"])
    page.true("the controls", {"query", "find", "in", "queries a second"} <= {
        name.strip() for role in ("spinbutton", "searchbox", "combobox") for name in found.get(role, [])})
    page.true("the heads", "layer 1, head 3" in found["button"])
    page.browser.js("chooseQuery(2)")
    page.equal("what is said when a query is chosen", page.text("spoken"),
               "query crossed2 looks at the0  0.428659; animal1  0.259988; crossed2  0.157696")
    page.browser.js("document.getElementById('map').focus()")
    page.browser.key("End")
    page.equal("and a cell", page.text("reading").split("  ")[0], "crossed2 \u2192 very4")
    page.faultless()


def printing(page):
    page.browser.prefer("dark")
    page.open("many")
    page.browser.prefer("dark", "print")
    page.equal("light on paper", page.browser.js("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)")
    hidden = "[...document.querySelectorAll('#theme, #play, #find, #wanted, #speed, #larger')].every((e) => e.offsetWidth === 0)"
    page.true("without controls", page.browser.js(hidden))
    page.browser.size(794, 1123)
    page.shot("print")
    page.browser.size(1500, 1000)
    pages = page.browser.print_pages()
    page.true(f"on few pages: {pages}", 1 <= pages <= 4)
    page.browser.prefer("dark")
    page.equal("dark again", page.browser.js("getComputedStyle(document.body).backgroundColor"), "rgb(20, 23, 28)")
    page.faultless()


def agree(page):
    """What was computed in two ways: the strongest weights that lie in a region, and the region."""
    met, worst = page.browser.js("""(() => {
      let met = 0, worst = 0;
      for (const part of parts[0].slice(1).filter((p) => p.exact))
        for (let i = part.queries[0]; i < part.queries[1]; ++i)
          for (const [j, x] of ranked(0, i)) {
            if (!covers(part, i, j)) continue;
            ++met;
            worst = Math.max(worst, Math.abs(x - weightIn(part, i, j)) / (part.precision + data.details[0].precision));
          }
      return [met, worst];
    })()""")
    print(f"{page.name}: {met} strongest weights lie in regions, {worst:.2f} of the stated precision away at most")
    page.true("strongest weights are those of the regions", met > 0 and worst <= 1.05)  # 5 %: float32


def given(page, path):
    """A report of another program."""
    name = os.path.splitext(os.path.basename(path))[0]
    page.open(name, path)
    for number in range(page.browser.js("document.querySelectorAll('#grid button').length")):
        page.click_head(number)
        page.equal("the head is chosen", page.browser.js("state.layer * data.heads.length + state.head"), number)
    if page.browser.js("isLong"):
        agree(page)
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
        for part in (alignment, lines, strips, heads_and_keys, themes, many, most, hostile, long_map, search, playing, moving, for_screen_readers,
                     printing):
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
