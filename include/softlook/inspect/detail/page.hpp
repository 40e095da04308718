#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
/// The parts of the page that inspect/report.hpp writes: here its style and its elements; how it
/// reads its data in data_script.hpp, what is on the screen in the other scripts. The page names no
/// other file, and its security policy forbids the browser to ask for one.
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
button, select, input {
  font: inherit; color: inherit; background: var(--panel); border: 1px solid var(--line);
  border-radius: 5px; padding: 3px 10px;
}
input[type="number"] { width: 7.5em; }
input[type="search"] { width: 10em; }
button:hover, select:hover, input:hover { border-color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
main { display: flex; flex-wrap: wrap; gap: 16px; margin-top: 14px; align-items: flex-start; }
.column { display: flex; flex-direction: column; gap: 16px; max-width: 100%; }
section {
  background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 12px 14px;
  max-width: 100%;
}
section button, section select, section input { background: var(--ground); }
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
#reading, #figures { display: block; min-height: 1.5em; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; unicode-bidi: isolate; }
#map, #lines { display: block; touch-action: manipulation; }
#map { cursor: crosshair; }
#tip {
  position: fixed; z-index: 2; pointer-events: none; max-width: 340px; padding: 4px 9px;
  background: var(--ink); color: var(--ground); border-radius: 5px; overflow-wrap: anywhere;
  font-variant-numeric: tabular-nums; unicode-bidi: isolate;
}
#scale { display: flex; gap: 8px; align-items: center; font-variant-numeric: tabular-nums; }
#strongest { margin: 8px 0 0; padding-left: 26px; font-variant-numeric: tabular-nums; }
#strongest li { overflow-wrap: anywhere; unicode-bidi: isolate; }
#strongest button {
  border: 0; padding: 0 4px; background: none; text-align: left; overflow-wrap: anywhere;
  font-variant-numeric: inherit;
}
#strongest button:hover { text-decoration: underline; }
#regions { display: inline-flex; flex-wrap: wrap; gap: 6px; }
#text-section { margin-top: 14px; }
#text { position: relative; margin: 0; max-height: 6.8em; overflow-y: auto; white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.7; }
#text span { padding: 1px 3px; border-radius: 4px; unicode-bidi: isolate; }
#text .seen { background: color-mix(in srgb, var(--accent) var(--weight), transparent); }
#text .strong { color: var(--on-accent); }
#text .query { outline: 2px solid var(--accent); }
#text .key { outline: 2px dashed var(--ink); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
[hidden] { display: none !important; }
.swatch {
  display: inline-block; width: 13px; height: 13px; border: 1px solid var(--soft);
  vertical-align: -2px; margin-right: 5px;
}
footer { margin-top: 14px; color: var(--soft); font-size: 13px; max-width: 100ch; }
kbd { border: 1px solid var(--line); border-radius: 3px; padding: 0 4px; font: inherit; }
@media print {
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; }
  button:not(#grid button, #strongest button), select, input, label, form, #tip, #keys-help, #regions-line { display: none !important; }
  main { display: block; }
  section { break-inside: avoid; margin-bottom: 12px; }
  .scroll, #text { max-height: none; overflow: visible; }
  #map, #lines { max-width: 100%; height: auto !important; }
}
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
<section id="text-section" aria-labelledby="text-title">
  <h2 id="text-title">Text, shaded by what the query looks at</h2>
  <p id="text"></p>
</section>
<main>
  <div class="column" id="column">
  <section aria-labelledby="heads-title">
    <h2 id="heads-title">Heads</h2>
    <div class="scroll"><table id="grid"></table></div>
  </section>
  <section aria-labelledby="lines-title">
    <div class="bar narrow"><h2 id="lines-title">From query to keys</h2>
      <label>query <input type="number" id="query" min="0" step="1"></label><span id="query-name"></span></div>
    <div class="bar narrow"><button id="play" type="button">Play</button>
      <label><select id="speed"><option>1</option><option>2</option><option selected>5</option><option>10</option>
        <option>30</option></select> queries a second</label></div>
    <form class="bar narrow" id="find" role="search">
      <label>find <input type="search" id="wanted"></label>
      <label>in <select id="side"><option value="queries">queries</option><option value="keys">keys</option></select></label>
      <button id="next">Next</button> <output id="found" aria-live="polite"></output></form>
    <div class="scroll"><canvas id="lines" tabindex="0" role="application"></canvas></div>
    <ol id="strongest" class="narrow"></ol>
    <div id="spoken" class="unseen" aria-live="polite"></div>
  </section>
  </div>
  <section aria-labelledby="map-title">
    <div class="bar"><h2 id="map-title"></h2>
      <span><button id="smaller" type="button" aria-label="smaller cells">&minus;</button>
      <button id="larger" type="button" aria-label="larger cells">+</button>
      <button id="all" type="button">Whole</button></span></div>
    <div class="bar narrow" id="regions-line"><span>computed again, to zoom into:</span><span id="regions"></span></div>
    <output id="reading" class="narrow" aria-live="polite"></output>
    <div class="scroll"><canvas id="map" tabindex="0" role="application" aria-describedby="figures"></canvas></div>
    <div id="figures" class="narrow"></div>
  </section>
</main>
<div id="tip" hidden></div>
<footer>
  <div id="precision"></div>
  <div id="unusual"></div>
  <div id="pooled"></div>
  <div id="keys-help">A row is a query, a column a key. A click in the map chooses the query; a double click, the wheel with
  <kbd>Ctrl</kbd>, two fingers and the buttons zoom; dragging and the wheel move the map. The bars below the map: how much each key is looked
  at (the root of its sum); beside it: how widely each query looks (its entropy). By keyboard: <kbd>Tab</kbd> from part to part; the
  arrow keys choose a head in the grid, a cell in the map (<kbd>Home</kbd> and <kbd>End</kbd> for the first and last key,
  <kbd>Page Up</kbd>, <kbd>Page Down</kbd>, <kbd>+</kbd>, <kbd>&minus;</kbd>, <kbd>0</kbd> to move and zoom, <kbd>Enter</kbd> for the lines of its
  query), and a query in the lines, where <kbd>Space</kbd> plays. <kbd>#12</kbd> finds number 12.</div>
</footer>
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
