#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// The lines from a query to its keys, what is told about a cell, and what the reader can do.
inline constexpr char lines_script[] = R"page(
const lines = {width: 0, height: 0, left: 0, right: 0};
function measureLines() {
  lines.height = spread(Math.max(rows, cols) * 24, 110, 640);
  lines.left = Math.ceil(widths.queries) + 18;
  lines.right = lines.left + 160;
  lines.width = lines.right + Math.ceil(widths.keys) + 56;
}
const margin = 8;  // so that the first and the last name are whole
const between = (k, count) => margin + (k + 0.5) * (lines.height - 2 * margin) / count;
const rowAt = (k) => between(k, rows), keyAt = (k) => between(k, cols);

// Keys of the chosen query, the strongest first; of those without a weight (masked, NaN, -inf) none.
function ranked() {
  const weights = range(cols).map((j) => weightAt(current(), state.query, j));
  return range(cols).filter((j) => weights[j] !== 0 && weights[j] > -Infinity)
                    .sort((a, b) => weights[b] - weights[a] || a - b).map((j) => [j, weights[j]]);
}

function drawLines() {
  const pen = sized(byId("lines"), lines.width, lines.height), best = ranked();
  const scale = rangeOf(current()), ink = themed("--ink"), accent = themed("--accent");
  const thickness = (x) => 14 * placed(x, scale);
  pen.lineCap = "butt";
  pen.strokeStyle = accent;
  const middle = (lines.left + lines.right) / 2;
  for (const [j, x] of best.slice().reverse()) {
    pen.globalAlpha = j === state.key ? 1 : spread(0.25 + 0.75 * placed(x, scale), 0.25, 0.9);
    pen.lineWidth = Math.max(thickness(x), j === state.key ? 1 : 0.1);
    pen.beginPath();
    pen.moveTo(lines.left, rowAt(state.query));
    pen.bezierCurveTo(middle, rowAt(state.query), middle, keyAt(j), lines.right, keyAt(j));
    pen.stroke();
  }
  pen.globalAlpha = 1;
  pen.textBaseline = "middle";
  const label = (text, x, y, bold, strong) => {
    pen.font = font(bold);
    pen.fillStyle = strong ? accent : ink;
    pen.fillText(text, x, y);
  };
  pen.textAlign = "right";
  const step = Math.ceil(15 / (rowAt(1) - rowAt(0)));
  for (const i of apart(evenly([state.query], rows, step), rowAt, 14.9))
    label(names.queries[i], lines.left - 8, rowAt(i), i === state.query, i === state.query);
  pen.textAlign = "left";
  // The keys that matter get their names first; the others where there is room.
  const order = [state.key, ...best.map((pair) => pair[0]), ...range(cols)].filter((j) => j >= 0);
  apart(order, keyAt, 14.9).forEach((j) => {
    const x = weightAt(current(), state.query, j), strong = placed(x, scale) >= 0.1 || j === state.key;
    label(names.keys[j] + (strong ? `  ${textOf(x, 2)}` : ""), lines.right + 8, keyAt(j), strong, j === state.key);
  });
  const list = byId("strongest");
  list.replaceChildren(...best.slice(0, 5).map(([j, x]) => {
    const item = document.createElement("li");
    item.textContent = `${isolated(data.keys[j])}  ${textOf(x)}`;
    return item;
  }));
  if (best.length === 0) list.textContent = "no key";
}

// What is chosen, shown everywhere.
function show() {
  byId("map-title").textContent = headName();
  byId("query").value = String(state.query);
  buttons.forEach((button, k) => {
    const chosen = k === state.layer * data.heads.length + state.head;
    button.setAttribute("aria-pressed", String(chosen));
    button.tabIndex = chosen ? 0 : -1;
  });
  const about = `of ${headName()}: ${rows} queries, ${cols} keys`;
  byId("map").setAttribute("aria-label", `Weights ${about}; arrow keys choose a cell`);
  byId("lines").setAttribute("aria-label", `Lines from ${data.queries[state.query]} ${about}; arrow keys choose it`);
  const scale = rangeOf(current()), decimals = Math.min(digits, 4);
  byId("low").textContent = textOf(scale.lowest, decimals);
  byId("high").textContent = textOf(scale.highest, decimals);
  tell();
  drawLines();
  drawMap();
}
function choose(layer, head) {
  Object.assign(state, {layer, head, key: -1});
  picture = null;
  show();
}
function chooseQuery(query) {
  Object.assign(state, {query: spread(query, 0, rows - 1), key: -1});
  show();
}
function tell() {
  byId("reading").textContent = state.cell ? said(...state.cell) : `point at a cell: query${arrow}key and weight`;
}
function tip(event, text) {
  const box = byId("tip");
  box.hidden = !text;
  if (!text) return;
  box.textContent = text;
  box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - box.offsetWidth - 8))}px`;
  const below = event.clientY + 18;
  box.style.top = `${below + box.offsetHeight > innerHeight ? event.clientY - box.offsetHeight - 10 : below}px`;
}

function cellUnder(event) {
  const j = Math.floor((event.offsetX - place.left) / place.cell);
  const i = Math.floor((event.offsetY - place.top) / place.cell);
  return i >= 0 && i < rows && j >= 0 && j < cols ? [i, j] : null;
}
function point(cell) {
  if (String(cell) === String(state.cell)) return;
  state.cell = cell;
  tell();
  drawMap();
}
function moveInMap(event) {
  const [i, j] = state.cell || [state.query, 0];
  if (event.key in steps && state.cell) {
    const [down, right] = steps[event.key];
    point([spread(i + down, 0, rows - 1), spread(j + right, 0, cols - 1)]);
  } else if (event.key in steps || event.key === "Home") point([i, 0]);
  else if (event.key === "End") point([i, cols - 1]);
  else if (event.key === "Enter" || event.key === " ") chooseQuery(i);
  else return;
  event.preventDefault();
  tip(event, "");
}

function listenToMap() {
  const map = byId("map"), hide = (event) => tip(event, "");
  map.addEventListener("pointermove", (event) => {
    point(cellUnder(event));
    tip(event, state.cell ? said(...state.cell) : "");
  });
  map.addEventListener("pointerleave", hide);
  map.addEventListener("click", (event) => {
    point(cellUnder(event));
    if (state.cell) chooseQuery(state.cell[0]);
  });
  map.addEventListener("keydown", moveInMap);
  const zoom = (by) => {
    state.zoom = spread(state.zoom * by, 0.25, 16);
    measureMap();
    drawMap();
  };
  byId("smaller").addEventListener("click", () => zoom(1 / 1.5));
  byId("larger").addEventListener("click", () => zoom(1.5));
}

function listenToLines() {
  const canvas = byId("lines"), at = (event, count) =>
    spread(Math.floor((event.offsetY - margin) / (lines.height - 2 * margin) * count), 0, count - 1);
  const leftHalf = (event) => event.offsetX < (lines.left + lines.right) / 2;
  const mark = (key) => {
    if (key !== state.key) {
      state.key = key;
      drawLines();
    }
  };
  canvas.addEventListener("pointermove", (event) => {
    canvas.style.cursor = leftHalf(event) ? "pointer" : "default";
    mark(leftHalf(event) ? -1 : at(event, cols));
    tip(event, leftHalf(event) ? data.queries[at(event, rows)] : said(state.query, state.key));
  });
  canvas.addEventListener("pointerleave", (event) => {
    mark(-1);
    tip(event, "");
  });
  canvas.addEventListener("click", (event) => leftHalf(event) && chooseQuery(at(event, rows)));
  canvas.addEventListener("keydown", (event) => {
    if (!(event.key in steps)) return;
    event.preventDefault();
    chooseQuery(state.query + steps[event.key][0] + steps[event.key][1]);
  });
  byId("query").append(...data.queries.map((name, i) => new Option(`${i}: ${name}`, String(i))));
  byId("query").addEventListener("change", (event) => chooseQuery(Number(event.target.value)));
}

// Light or dark as the system says, until the reader says otherwise.
function listenToTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), root = document.documentElement;
  const set = (theme) => {
    root.dataset.theme = theme;
    byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
    show();
  };
  let asked = false;
  const follow = () => asked || set(dark.matches ? "dark" : "light");
  dark.addEventListener("change", follow);
  byId("theme").addEventListener("click", () => {
    asked = true;
    set(root.dataset.theme === "dark" ? "light" : "dark");
  });
  follow();
}

function describe() {
  byId("title").textContent = data.title || "Attention weights";
  byId("precision").textContent = `A weight is stored in ${data.bits} bits: what is shown is within ` +
    `${shownPrecision.toPrecision(2)} of what was computed. An exact 0 (a masked pair) is shown as 0.`;
  const seen = new Set();
  decoded.forEach((map) => map.seen.forEach((x) => seen.add(x)));
  for (const [x, text, colour] of unusual) {
    if (!seen.has(x)) continue;
    const swatch = byId("unusual").appendChild(document.createElement("span"));
    swatch.className = "swatch";
    swatch.style.background = css(colour);
    byId("unusual").append(`${text}  `);
  }
  if (Math.max(rows, cols) > Number(byId("grid").dataset.side))
    byId("pooled").textContent = "A small map with fewer pixels than cells shows the strongest of each.";
  const pen = byId("ramp").getContext("2d");
  range(128).forEach((k) => {
    pen.fillStyle = css(palette[Math.round(k / 127 * 1023)]);
    pen.fillRect(k, 0, 1, 12);
  });
}

addEventListener("resize", () => {
  measureMap();
  drawMap();
});
byId("own").addEventListener("change", () => {
  picture = null;
  drawGrid();
  show();
});
buildGrid();
drawGrid();
describe();
measureLines();
drawLines();
measureMap();  // beside the lines, which have their width now
listenToMap();
listenToLines();
listenToTheme();
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
