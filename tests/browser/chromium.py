"""Drives a headless Chromium through its DevTools protocol, over a pipe: no package is needed."""

import base64
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time

PATIENCE = 30  # seconds for one answer


class Browser:
    """One page. Remembers what the page asked the network for, and its errors."""

    def __init__(self, program, width=1500, height=1000):
        self.profile = tempfile.mkdtemp(prefix="softlook-browser-")
        to_browser, self.writer = os.pipe()
        self.reader, from_browser = os.pipe()

        def pipes_in_place():  # Chromium reads from 3 and writes to 4
            reads, writes = os.dup(to_browser), os.dup(from_browser)
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--no-first-run", "--disable-extensions", "--disable-background-networking",
             "--remote-debugging-pipe", "--user-data-dir=" + self.profile,
             f"--window-size={width},{height}", "about:blank"],
            preexec_fn=pipes_in_place, close_fds=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer = b""
        self.count = 0
        self.session = None
        self.events = []
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.size(width, height)

    def close(self):
        os.close(self.writer)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.reader)
        shutil.rmtree(self.profile, ignore_errors=True)

    def receive(self):
        end = time.monotonic() + PATIENCE
        while b"\0" not in self.buffer:
            if not select.select([self.reader], [], [], max(0, end - time.monotonic()))[0]:
                raise RuntimeError(f"the browser says nothing for {PATIENCE} s")
            part = os.read(self.reader, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.count += 1
        message = {"id": self.count, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        text = json.dumps(message).encode() + b"\0"
        while text:
            text = text[os.write(self.writer, text):]
        while True:
            answer = self.receive()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def open(self, path):
        """Events before this are forgotten."""
        self.events = []
        self.call("Page.navigate", url="file://" + path)
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self.receive())

    def js(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def requests(self):
        return [e["params"]["request"]["url"] for e in self.events
                if e.get("method") == "Network.requestWillBeSent"]

    def faults(self):
        """What the page threw, and what the browser logged."""
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled",
               "Page.javascriptDialogOpening")
        return [e for e in self.events if e.get("method") in bad]

    def size(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=1, mobile=False)
        self.window = width, height
        self.frames()

    def prefer(self, theme, media=""):
        """Light or dark, on the screen or in print."""
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": theme}])
        self.frames()

    def frames(self):
        """The page hears of such things with its next frame."""
        self.js("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def type(self, text):
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def drag(self, x, y, to_x, to_y):
        for kind, at_x, at_y in (("mousePressed", x, y), ("mouseMoved", to_x, to_y), ("mouseReleased", to_x, to_y)):
            self.call("Input.dispatchMouseEvent", type=kind, x=at_x, y=at_y, button="left", buttons=1,
                      clickCount=1)

    def touch(self, kind, *points):
        """touchStart, touchMove or touchEnd: the fingers that are down, each (x, y)."""
        self.call("Input.dispatchTouchEvent", type=kind, touchPoints=[
            {"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)])

    def pinch(self, x, y, apart, to_apart, to_x=None, to_y=None):
        """Two fingers beside each other, around (x, y), come to be `to_apart` from each other around another place."""
        to_x, to_y = x if to_x is None else to_x, y if to_y is None else to_y
        fingers = lambda t: [(x + t * (to_x - x) + side * (apart + t * (to_apart - apart)) / 2, y + t * (to_y - y))
                             for side in (-1, 1)]
        self.touch("touchStart", fingers(0)[0])
        self.touch("touchStart", *fingers(0))
        for step in range(1, 11):
            self.touch("touchMove", *fingers(step / 10))
        self.touch("touchEnd", fingers(1)[0])
        self.touch("touchEnd")
        self.frames()

    def wheel(self, x, y, pixels, ctrl=False):
        self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=pixels,
                  modifiers=2 if ctrl else 0)

    def print_pages(self):
        """As PDF: how many pages."""
        data = base64.b64decode(self.call("Page.printToPDF", printBackground=True)["data"])
        return len(re.findall(rb"/Type\s*/Page\b", data))

    def mouse(self, x, y, click=False):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if click:
            for kind in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left",
                          clickCount=1)

    def key(self, name):
        codes = {"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38,
                 "ArrowRight": 39, "ArrowDown": 40, "PageUp": 33, "PageDown": 34, " ": 32, "+": 187, "-": 189, "0": 48, "/": 191}
        text = {"Enter": "\r"}.get(name, name if len(name) == 1 else "")
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, text=text if kind == "keyDown" else "",
                      code="Space" if name == " " else name, windowsVirtualKeyCode=codes[name])

    def screenshot(self, path):
        """Of the whole page, in a window that is as high."""
        width, height = self.window
        self.size(width, max(height, self.js("document.documentElement.scrollHeight")))
        data = self.call("Page.captureScreenshot", format="png")["data"]
        self.size(width, height)
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))
