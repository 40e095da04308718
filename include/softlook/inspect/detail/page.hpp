#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
/// The parts of the page that inspect/report.hpp writes: here its style, its elements and how it
/// reads its data, in view_script.hpp what is on the screen. The page names no other file, and
/// its security policy forbids the browser to ask for one.
namespace detail::report_page {

inline constexpr char head[] = R"page(<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {
  color-scheme: light;
  --ground: #ffffff; --panel: #f5f6f8; --ink: #1b1f24; --soft: #59636e; --line: #d0d7de;
  --accent: #0b62c4; --on-accent: #ffffff;
}
:root[data-theme="dark"] {
  color-scheme: dark;
  --ground: #14171c; --panel: #1e232a; --ink: #e8ebee; --soft: #a3adb8; --line: #3a424c;
  --accent: #6cb6ff; --on-accent: #0d1117;
}
* { box-sizing: border-box; }
body {
  margin: 0; padding: 16px 20px 24px; background: var(--ground); color: var(--ink);
  font: 14px/1.45 system-ui, "DejaVu Sans", sans-serif;
}
header { display: flex; flex-wrap: wrap; gap: 8px 20px; align-items: center; }
h1 { font-size: 19px; margin: 0 auto 0 0; overflow-wrap: anywhere; }
h2 { font-size: 15px; margin: 0 0 8px; overflow-wrap: anywhere; }
label { display: inline-flex; gap: 6px; align-items: center; }
button, select {
  font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 5px; padding: 3px 10px;
}
select { max-width: 220px; }
button:hover, select:hover { border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
main { display: flex; flex-wrap: wrap; gap: 16px; margin-top: 14px; align-items: flex-start; }
.column { display: flex; flex-direction: column; gap: 16px; max-width: 100%; }
section {
  background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  max-width: 100%;
}
section button, section select { background: var(--ground); }
.scroll { overflow: auto; max-height: 100vh; padding: 6px; margin: -6px; }
#grid { border-spacing: 4px; }
#grid th { font-weight: normal; font-size: 12px; color: var(--soft); white-space: nowrap; }
#grid th div { overflow: hidden; text-overflow: ellipsis; }
#grid tbody th { text-align: right; padding-right: 4px; }
#grid tbody th div { max-width: 140px; }
#grid thead th { vertical-align: bottom; }
#grid thead.upright th div { writing-mode: vertical-rl; transform: rotate(180deg); max-height: 90px; }
#grid td { padding: 0; }
#grid button { padding: 0; border: 2px solid var(--line); border-radius: 4px; display: block; line-height: 0; }
#grid button:hover { border-color: var(--accent); }
#grid button[aria-pressed="true"] { border-color: var(--accent); box-shadow: 0 0 0 2px var(--accent); }
#grid canvas { border-radius: 2px; image-rendering: pixelated; }
.bar { display: flex; flex-wrap: wrap; gap: 6px 12px; align-items: center; margin-bottom: 8px; }
.bar h2 { margin: 0; }
.narrow { width: 0; min-width: 100%; }  /* a long text makes no panel wider */
#map-title { max-width: 420px; }
#reading { display: block; min-height: 1.5em; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; unicode-bidi: isolate; }
#map, #lines { display: block; touch-action: manipulation; }
#map { cursor: crosshair; }
#tip {
  position: fixed; z-index: 2; pointer-events: none; max-width: 340px; padding: 4px 9px;
  background: var(--ink); color: var(--ground); border-radius: 5px; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; unicode-bidi: isolate;
}
#tip[hidden] { display: none; }
#scale { display: flex; gap: 8px; align-items: center; font-variant-numeric: tabular-nums; }
#strongest { margin: 8px 0 0; padding-left: 26px; font-variant-numeric: tabular-nums; }
#strongest li { overflow-wrap: anywhere; unicode-bidi: isolate; }
.swatch {
  display: inline-block; width: 13px; height: 13px; border: 1px solid var(--soft);
  vertical-align: -2px; margin-right: 5px;
}
footer { margin-top: 14px; color: var(--soft); font-size: 13px; max-width: 100ch; }
kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 4px; font: inherit; }
bdi { unicode-bidi: isolate; }
</style>
</head>
)page";

inline constexpr char body[] = R"page(<body>
<noscript>This report draws its maps with a script that stands in this file; the browser does not run it.</noscript>
<header>
  <h1 id="title"></h1>
  <div id="scale"><span id="low"></span><canvas id="ramp" width="128" height="12"
    role="img" aria-label="colours from the lowest to the highest weight"></canvas><span id="high"></span></div>
  <label><input type="checkbox" id="own"> each head its own colour scale</label>
  <button id="theme" type="button">Dark</button>
</header>
<main>
  <div class="column" id="column">
  <section aria-labelledby="heads-title">
    <h2 id="heads-title">Heads</h2>
    <div class="scroll"><table id="grid"></table></div>
  </section>
  <section aria-labelledby="lines-title">
    <div class="bar"><h2 id="lines-title">From query to keys</h2>
      <label>query <select id="query"></select></label></div>
    <div class="scroll"><canvas id="lines" tabindex="0" role="application"></canvas></div>
    <ol id="strongest" class="narrow"></ol>
  </section>
  </div>
  <section aria-labelledby="map-title">
    <div class="bar"><h2 id="map-title"></h2>
      <span><button id="smaller" type="button" aria-label="smaller cells">&minus;</button>
      <button id="larger" type="button" aria-label="larger cells">+</button></span></div>
    <output id="reading" class="narrow" aria-live="polite"></output>
    <div class="scroll"><canvas id="map" tabindex="0" role="application"></canvas></div>
  </section>
</main>
<div id="tip" hidden></div>
<footer>
  <div id="precision"></div>
  <div id="unusual"></div>
  <div>A row is a query, a column a key; a click in the map chooses the query of the lines. By keyboard: <kbd>Tab</kbd>
  from part to part; the arrow keys choose a head in the grid, a cell in the map (<kbd>Home</kbd> and <kbd>End</kbd> for the
  first and last key, <kbd>Enter</kbd> for the lines of its query), and a query in the lines.
  <span id="pooled"></span></div>
</footer>
)page";

/// Weights as numbers and colours. Texts reach the page as text only (textContent, fillText), never
/// as HTML.
inline constexpr char data_script[] = R"page("use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const rows = data.queries.length, cols = data.keys.length;
const arrow = " \u2192 ";

// A code below `levels` is a level; the four above it are what is no level.
const levels = 2 ** data.bits - 4;
const valueOf = Float64Array.from({length: levels + 4}, (_, code) => {
  const t = code / (levels - 1);
  return code < levels ? data.lowest * (1 - t) + data.highest * t
                       : [0, NaN, Infinity, -Infinity][code - levels];
});

// The codes of a head, row after row, and the range of its finite weights and 0. Kept once decoded.
const decoded = new Map();
function mapOf(layer, head) {
  const at = layer * data.heads.length + head;
  if (!decoded.has(at)) {
    const bytes = atob(data.weights[at]), codes = new Uint16Array(rows * cols);
    const wide = data.bits === 16, seen = new Set();
    let lowest = 0, highest = 0;
    for (let k = 0; k < codes.length; ++k) {
      codes[k] = wide ? bytes.charCodeAt(2 * k) | bytes.charCodeAt(2 * k + 1) << 8 : bytes.charCodeAt(k);
      const x = valueOf[codes[k]];
      if (!Number.isFinite(x)) seen.add(x);
      else if (x < lowest) lowest = x;
      else if (x > highest) highest = x;
    }
    if (lowest === highest) highest = 1;
    decoded.set(at, {codes, lowest, highest, seen});
  }
  return decoded.get(at);
}
const weightAt = (map, i, j) => valueOf[map.codes[i * cols + j]];

// 0 at the lowest, 1 at the highest; in halves, because their difference may overflow.
function placed(x, range) {
  const all = range.highest / 2 - range.lowest / 2;
  return all > 0 ? Math.min(1, Math.max(0, (x / 2 - range.lowest / 2) / all)) : 0;
}

const palette = Array.from({length: 1024}, (_, k) => {
  const at = k / 1023 * 9, low = Math.min(Math.floor(at), 8);
  return data.ramp[low].map((c, p) => Math.round(c + (at - low) * (data.ramp[low + 1][p] - c)));
});
const unusual = [[NaN, "NaN", [230, 97, 0]], [Infinity, "inf", [255, 255, 255]],
                 [-Infinity, "-inf", [200, 200, 200]]];
function colourOf(x, range) {
  if (!Number.isFinite(x)) return unusual.find((u) => Object.is(u[0], x))[2];
  return palette[Math.round(1023 * placed(x, range))];
}
const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;
function isBright(c) {
  const [r, g, b] = c.map((v) => (v / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}

// As many digits as the precision has, and no more; what a reader sees is off by half of the last one, too.
const digits = Math.max(0, Math.ceil(-Math.log10(2 * data.precision)));
const shownPrecision = data.precision + (digits > 9 ? 0 : 0.5 * 10 ** -digits);
function textOf(x, decimals = digits) {
  if (!Number.isFinite(x)) return unusual.find((u) => Object.is(u[0], x))[1];
  if (x === 0) return "0";
  if (Math.abs(x) < 1e5 && digits <= 9) return x.toFixed(Math.min(decimals, digits));
  const known = Math.floor(Math.log10(Math.abs(x)) - Math.log10(data.precision));
  return x.toExponential(Math.min(Math.max(known, 0), decimals < digits ? 1 : 6));
}

// A picture of a map with at most `most` pixels a side; of cells that share a pixel it has the strongest.
function pictureOf(map, range, most) {
  const step = Math.ceil(Math.max(rows, cols) / most);
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil(cols / step);
  canvas.height = Math.ceil(rows / step);
  const best = new Float64Array(canvas.width * canvas.height).fill(-Infinity);
  for (let i = 0; i < rows; ++i) {
    const row = Math.floor(i / step) * canvas.width;
    for (let j = 0; j < cols; ++j) {
      const x = weightAt(map, i, j), k = row + Math.floor(j / step);
      if (x > best[k] || Number.isNaN(x)) best[k] = x;
    }
  }
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height);
  best.forEach((x, k) => image.data.set([...colourOf(x, range), 255], 4 * k));
  pen.putImageData(image, 0, 0);
  return canvas;
}
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
