"""python3 docs.py CHROMIUM FOLDER: searches the pages of the documentation, which lie in FOLDER, as a reader would: from
the disk, without a network. Leaves a screenshot there."""

import os
import sys
import time

from chromium import PATIENCE, Browser

# What is typed, and what must be on the page that the first answer leads to.
WANTED = (("yarn", "yarn_scaling"), ("attention_backward", "attention_backward"), ("causal_bottom", "causal_bottom_right"))
ANSWERS = "[...document.querySelectorAll('#answers:not([hidden]) a')].map((a) => a.href)"


def answers(browser):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = browser.js(ANSWERS)
        if found:
            return found
        time.sleep(0.1)
    return []


def landed(browser):
    """The page that a link led to, once it is there."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if browser.js("document.readyState === 'complete' && !location.pathname.endsWith('/index.html')"):
            return browser.js("location.pathname")
        time.sleep(0.1)
    raise AssertionError("Enter leads nowhere")


def main():
    program, folder = sys.argv[1], os.path.abspath(sys.argv[2])
    browser = Browser(program)
    try:
        for text, wanted in WANTED:
            browser.open(os.path.join(folder, "index.html"))
            browser.key("/")
            browser.type(text)
            found = answers(browser)
            if not found:
                raise AssertionError(f"no answer to {text}")
            faults = browser.faults()
            if faults:
                raise AssertionError(f"{text}: {faults}")
            foreign = [url for url in browser.requests() if not url.startswith("file://" + folder)]
            if foreign:
                raise AssertionError(f"the page asked for {foreign}")
            browser.screenshot(os.path.join(folder, "search.png"))
            browser.key("Enter")
            path = landed(browser)
            if wanted not in browser.js("document.body.textContent"):
                raise AssertionError(f"{text} leads to {path}, which does not name {wanted}")
            if not browser.js("document.getElementById(decodeURIComponent(location.hash.slice(1))) !== null"):
                raise AssertionError(f"{text} leads to a place that {path} does not have")
            print(f"{text}: {len(found)} answers, the first leads to {os.path.basename(path)}")
    finally:
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, RuntimeError) as fault:
        print(fault, file=sys.stderr)
        sys.exit(1)
