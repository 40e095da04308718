#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// What the chosen query looks at: lines to its keys, a list of the strongest, the keys as a text.
inline constexpr char lines_script[] = R"page(
const lines = {width: 0, height: 0, left: 0, right: 0};
function measureLines() {
  lines.height = spread(Math.max(rows, cols) * 24, 110, 640);
  lines.left = Math.ceil(widths.queries) + 18;
  lines.right = lines.left + 160;
  lines.width = lines.right + Math.ceil(widths.keys) + 72;
}
// Queries and keys stand beside each other as in the window of the map.
const margin = 8;  // so that the first and the last name are whole
const between = (k, first, count) => margin + (k + 0.5 - first) * (lines.height - 2 * margin) / count;
const rowAt = (k) => between(k, view.row, view.rows), keyAt = (k) => between(k, view.col, view.cols);
const mostLines = 400;  // the strongest; the others would be as thin as a hair

function drawLines() {
  const pen = sized(byId("lines"), lines.width, lines.height), best = ranked(current(), state.query);
  const scale = scaleOfWeights(), ink = themed("--ink"), accent = themed("--accent");
  const precision = isLong ? data.details[current()].precision : data.precision;
  pen.lineCap = "butt";
  const middle = (lines.left + lines.right) / 2, inside = (y) => spread(y, -30, lines.height + 30);
  const line = (i, j, opaque, width) => {  // one that ends outside of the window leaves towards its end
    const from = inside(rowAt(i)), to = inside(keyAt(j));
    pen.globalAlpha = opaque;
    pen.lineWidth = width;
    pen.beginPath();
    pen.moveTo(lines.left, from);
    pen.bezierCurveTo(middle, from, middle, to, lines.right, to);
    pen.stroke();
  };
  if (state.key >= 0) {  // who else looks at the key that is pointed at
    const others = lookers(current(), state.key).slice(0, mostLines), theirs = isLong ? scaleOfKeys(others) : scale;
    pen.strokeStyle = themed("--soft");
    for (const [i, x] of others) {
      const t = placed(x, theirs);
      line(i, state.key, spread(0.6 * t, 0.08, 0.6), Math.max(14 * t, 0.5));
    }
  }
  pen.strokeStyle = accent;
  for (const [j, x] of best.slice(0, mostLines).reverse()) {
    const marked = j === state.key, opaque = marked ? 1 : spread(0.25 + 0.75 * placed(x, scale), 0.25, 0.9);
    line(state.query, j, opaque, Math.max(14 * placed(x, scale), marked ? 1 : 0.1));
  }
  pen.globalAlpha = 1;
  pen.textBaseline = "middle";
  const label = (text, x, y, bold, strong) => {
    pen.font = font(bold);
    pen.fillStyle = strong ? accent : ink;
    pen.fillText(text, x, y);
  };
  pen.textAlign = "right";
  const fits = (y) => y >= margin - 1 && y <= lines.height - margin + 1;
  const space = (count) => 15 * count / (lines.height - 2 * margin);
  const some = evenly([state.query], view.row, view.row + view.rows, space(view.rows)).filter((i) => fits(rowAt(i)));
  for (const i of apart(some, rowAt, 14.9))
    label(shortName(queries, i), lines.left - 8, rowAt(i), i === state.query, i === state.query);
  pen.textAlign = "left";
  // The keys that matter get their names first; the others where there is room.
  const weights = new Map(best), strongest = best.slice(0, mostLines).map((pair) => pair[0]);
  const order = evenly([state.key, ...strongest], view.col, view.col + view.cols, space(view.cols) / 4);
  apart(order.filter((j) => fits(keyAt(j))), keyAt, 14.9).forEach((j) => {
    const x = weights.get(j) || 0, strong = placed(x, scale) >= 0.1 || j === state.key;
    const weight = strong && weights.has(j) ? `  ${textOf(x, precision, decimalsOf(scale))}` : "";
    label(shortName(keys, j) + weight, lines.right + 8, keyAt(j), strong, j === state.key);
  });
}

// The strongest keys as a list, of which each shows its cell.
function listStrongest() {
  const best = ranked(current(), state.query), list = byId("strongest");
  list.replaceChildren(...best.slice(0, 5).map(([j]) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.textContent = saidOfKey(state.query, j);
    button.addEventListener("click", () => pointAt([state.query, j], true));
    item.appendChild(button);
    return item;
  }));
  if (best.length === 0) list.textContent = "no key";
}

// Keys as a text, shaded by what the query looks at: all of them, or those before the query and a few after it.
const mostWords = 160;
function drawText() {
  byId("text-section").hidden = !keys.names;
  if (!keys.names) return;
  const best = ranked(current(), state.query), scale = scaleOfWeights(), weights = new Map(best);
  // In a text that looks at itself the query is one of the keys, the last of them if there are more keys.
  const same = state.query + cols - rows, is = nameOf(keys, same) === nameOf(queries, state.query) ? same : -1;
  const centre = is >= 0 ? is : best.length > 0 ? best[0][0] : 0;
  const first = spread(centre - mostWords + 20, 0, Math.max(0, cols - mostWords));
  const words = range(Math.min(cols, mostWords)).map((k) => {
    const word = document.createElement("span"), j = first + k, t = placed(weights.get(j) || 0, scale);
    word.textContent = nameOf(keys, j);
    word.dataset.key = j;
    if (t > 0.005) word.style.setProperty("--weight", `${Math.round(10 + 80 * t)}%`);
    const classes = {seen: t > 0.005, strong: t > 0.6, query: j === is, key: j === state.key};
    word.className = Object.keys(classes).filter((name) => classes[name]).join(" ");
    return word;
  });
  const text = byId("text"), here = words[spread(centre - first, 0, words.length - 1)];
  text.replaceChildren(...words.flatMap((word) => [word, document.createElement("wbr")]));
  const line = text.clientHeight / 4;  // as many lines are in view
  if (text.scrollHeight > text.clientHeight) text.scrollTop = Math.floor(here.offsetTop / line - 2) * line;
}

// What is chosen, shown everywhere.
function show() {
  byId("map-title").textContent = headName();
  byId("lines-title").textContent = `From query ${state.query} to keys`;
  byId("query").value = String(state.query);
  byId("query-name").textContent = queries.names ? isolated(shortName(queries, state.query)) : "";
  buttons.forEach((button, k) => {
    button.setAttribute("aria-pressed", String(k === current()));
    button.tabIndex = k === current() ? 0 : -1;
  });
  const about = `of ${headName()}: ${rows} queries, ${cols} keys`;
  byId("map").setAttribute("aria-label", `Weights ${about}; arrow keys choose a cell`);
  byId("lines").setAttribute("aria-label", `Lines from ${nameOf(queries, state.query)} ${about}; arrow keys choose it`);
  drawMap();
  drawLines();
  listStrongest();
  drawText();
  tell();
  describeUnusual();
}
function choose(layer, head) {
  Object.assign(state, {layer, head, key: -1});
  pictures.clear();
  listRegions();
  show();
}
function chooseQuery(query) {
  Object.assign(state, {query: spread(query, 0, rows - 1), key: -1});
  reveal(state.query);
  show();
  byId("spoken").textContent = playing.timer ? "" : `query ${fullName(queries, state.query)} looks at ` +
    (ranked(current(), state.query).slice(0, 3).map(([j]) => saidOfKey(state.query, j)).join("; ") || "no key");
}
function tell() {
  byId("reading").textContent = state.cell ? said(...state.cell) : `point at a cell: query${arrow}key and weight`;
  const [i, j] = state.cell || [state.query, -1];
  byId("figures").textContent = [saidOfEntropy(i), j < 0 ? "" : saidOfKeySum(j)].filter(Boolean).join("; ");
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

// A cell that the reader points at, in the map, in the lines or in the text, is marked in all of them.
function pointAt(cell, mustShow = false) {
  if (mustShow && cell) reveal(...cell);
  else if (String(cell) === String(state.cell)) return;
  state.cell = cell;
  state.key = cell && cell[0] === state.query ? cell[1] : -1;
  tell();
  drawMap();
  drawLines();
  for (const word of byId("text").children)
    if (word.dataset.key) word.classList.toggle("key", Number(word.dataset.key) === state.key);
}

function cellUnder(event) {
  const x = event.offsetX - place.left, y = event.offsetY - place.top;
  if (x < 0 || y < 0 || x >= place.width || y >= place.height) return null;
  return [spread(Math.floor(view.row + y / place.down), 0, rows - 1),
          spread(Math.floor(view.col + x / place.across), 0, cols - 1)];
}
// Where cells are smaller than pixels a key goes on by about two pixels.
const stride = (pixels) => pixels >= 1 ? 1 : Math.ceil(2 / pixels);
function moveInMap(event) {
  const [i, j] = state.cell || [state.query, 0], page = Math.max(1, Math.floor(view.rows) - 1);
  const go = (row, col) => pointAt([spread(row, 0, rows - 1), spread(col, 0, cols - 1)], true);
  if (event.key in steps && state.cell) {
    const [down, right] = steps[event.key];
    go(i + down * stride(place.down), j + right * stride(place.across));
  } else if (event.key in steps || event.key === "Home") go(i, 0);
  else if (event.key === "End") go(i, cols - 1);
  else if (event.key === "PageUp") go(i - page, j);
  else if (event.key === "PageDown") go(i + page, j);
  else if (event.key === "+" || event.key === "-") zoomHere(event.key === "+" ? 1.5 : 1 / 1.5);
  else if (event.key === "0") showAll();
  else if (event.key === "Enter" || event.key === " ") chooseQuery(i);
  else return;
  event.preventDefault();
  tip(event, "");
}
// Zooms around the cell that is pointed at, or the chosen query.
function zoomHere(by) {
  const [i, j] = state.cell || [state.query, view.col + view.cols / 2];
  const x = (j + 0.5 - view.col) * place.across, y = (i + 0.5 - view.row) * place.down;
  zoom(by, spread(x, 0, place.width), spread(y, 0, place.height));
}
function showAll() {
  view.zoom = 1;
  measureMap();
  drawMap();
  drawLines();
}

// Two fingers: what was between them when they came stays there, and grows as they part.
const fingers = new Map();
let pinch = null;
function spanOfFingers() {
  const [a, b] = fingers.values();
  return {x: (a.x + b.x) / 2 - place.left, y: (a.y + b.y) / 2 - place.top, apart: Math.max(1, Math.hypot(a.x - b.x, a.y - b.y))};
}
function startPinch() {
  const span = fingers.size === 2 ? spanOfFingers() : null;
  pinch = span && {apart: span.apart, from: under(span.x, span.y)};
}
function movePinch() {
  const {x, y, apart: now} = spanOfFingers();
  zoom(now / pinch.apart, x, y, pinch.from);
}

function listenToMap() {
  const map = byId("map");
  let held = null;  // where a drag began
  const hold = (event, moved) => {
    held = {x: event.offsetX, y: event.offsetY, row: view.row, col: view.col, moved};
  };
  map.addEventListener("pointerdown", (event) => {
    hold(event, fingers.size > 0);
    if (event.pointerType === "touch") fingers.set(event.pointerId, {x: event.offsetX, y: event.offsetY});
    startPinch();
    map.setPointerCapture(event.pointerId);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"])
    map.addEventListener(name, (event) => {
      if (!fingers.delete(event.pointerId)) return;
      startPinch();
      for (const {x, y} of fingers.values()) hold({offsetX: x, offsetY: y}, true);  // the one that stays moves the map on
    });
  // The browser does not scroll by a second finger.
  map.addEventListener("touchstart", (event) => event.touches.length > 1 && event.preventDefault(), {passive: false});
  map.addEventListener("pointermove", (event) => {
    if (fingers.has(event.pointerId)) fingers.set(event.pointerId, {x: event.offsetX, y: event.offsetY});
    if (pinch) {
      if (fingers.has(event.pointerId)) movePinch();
      return tip(event, "");
    }
    if (held && event.buttons && !isWhole()) {
      const x = event.offsetX - held.x, y = event.offsetY - held.y;
      held.moved = held.moved || Math.hypot(x, y) > 4;
      if (held.moved) {
        moveTo(held.row - y / place.down, held.col - x / place.across);
        drawMap();
        drawLines();
        return tip(event, "");
      }
    }
    pointAt(cellUnder(event));
    tip(event, state.cell ? said(...state.cell) : saidOfStrip(event.offsetX - place.left, event.offsetY - place.top));
  });
  map.addEventListener("pointerleave", (event) => tip(event, ""));
  map.addEventListener("click", (event) => {
    const dragged = held && held.moved;
    held = null;
    if (dragged) return;
    pointAt(cellUnder(event));
    if (state.cell) chooseQuery(state.cell[0]);
  });
  map.addEventListener("dblclick", (event) => {
    const x = event.offsetX - place.left, y = event.offsetY - place.top, region = framedAt(x, y);
    if (region && region !== shown().region) zoomTo(region);
    else if (cellUnder(event)) zoom(3, x, y);
  });
  // The wheel scrolls the page where the map cannot move.
  map.addEventListener("wheel", (event) => {
    const {row, col} = view, pixels = event.deltaMode === 0 ? 1 : 20;
    if (event.ctrlKey) {
      zoom(Math.exp(-event.deltaY * pixels / 300), event.offsetX - place.left, event.offsetY - place.top);
      return event.preventDefault();
    }
    moveTo(row + event.deltaY * pixels / place.down, col + event.deltaX * pixels / place.across);
    if (view.row === row && view.col === col) return;
    event.preventDefault();
    drawMap();
    drawLines();
  }, {passive: false});
  map.addEventListener("keydown", moveInMap);
  byId("smaller").addEventListener("click", () => zoomHere(1 / 1.5));
  byId("larger").addEventListener("click", () => zoomHere(1.5));
  byId("all").addEventListener("click", showAll);
}
function listRegions() {
  byId("regions").replaceChildren(...parts[current()].slice(1).map((part) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `queries ${part.queries[0]} to ${part.queries[1] - 1}, keys ${part.keys[0]} to ${part.keys[1] - 1}`;
    button.addEventListener("click", () => zoomTo(part));
    return button;
  }));
  byId("regions-line").hidden = parts[current()].length === 1;
}

function listenToLines() {
  const canvas = byId("lines"), leftHalf = (event) => event.offsetX < (lines.left + lines.right) / 2;
  const at = (event, first, count, all) =>
    spread(Math.floor(first + (event.offsetY - margin) / (lines.height - 2 * margin) * count), 0, all - 1);
  const queryAt = (event) => at(event, view.row, view.rows, rows);
  const keyNear = (event) => {  // where keys are close together the one with a line
    const near = ranked(current(), state.query).find(([j]) => Math.abs(keyAt(j) - event.offsetY) < 7);
    return near && keyAt(1) - keyAt(0) < 7 ? near[0] : at(event, view.col, view.cols, cols);
  };
  canvas.addEventListener("pointermove", (event) => {
    canvas.style.cursor = leftHalf(event) ? "pointer" : "default";
    pointAt(leftHalf(event) ? null : [state.query, keyNear(event)]);
    tip(event, leftHalf(event) ? fullName(queries, queryAt(event)) : said(...state.cell));
  });
  canvas.addEventListener("pointerleave", (event) => {
    pointAt(null);
    tip(event, "");
  });
  canvas.addEventListener("click", (event) => leftHalf(event) && chooseQuery(queryAt(event)));
  canvas.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(view.rows) - 1);
    const moves = {ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1,
                   PageUp: -page, PageDown: page, Home: -rows, End: rows};
    if (event.key === " ") play(!playing.timer);
    else if (event.key in moves) chooseQuery(state.query + moves[event.key]);
    else return;
    event.preventDefault();
  });
  const text = byId("text"), keyUnder = (event) => event.target.dataset.key;
  text.addEventListener("pointermove", (event) => {
    pointAt(keyUnder(event) ? [state.query, Number(keyUnder(event))] : null);
    tip(event, keyUnder(event) ? said(...state.cell) : "");
  });
  text.addEventListener("pointerleave", (event) => {
    pointAt(null);
    tip(event, "");
  });
}
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
