#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// The grid of heads and the large map. As in data_script, texts are never HTML.
inline constexpr char view_script[] = R"page(
const state = {layer: data.layer, head: data.head, query: 0, cell: null, zoom: 1, key: -1};
const whole = {lowest: data.lowest, highest: data.highest};
const current = () => mapOf(state.layer, state.head);
const rangeOf = (map) => byId("own").checked ? map : whole;
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const font = (bold) => `${bold ? "bold " : ""}12px system-ui, "DejaVu Sans", sans-serif`;
const spread = (x, lowest, highest) => Math.min(highest, Math.max(lowest, x));
const range = (count) => Array.from({length: count}, (_, k) => k);

// A canvas of so many CSS pixels, sharp on any screen.
function sized(canvas, width, height) {
  const sharp = Math.min(window.devicePixelRatio || 1, 8192 / Math.max(width, height));
  canvas.width = Math.round(width * sharp);
  canvas.height = Math.round(height * sharp);
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Names cut to a width, once each.
const measuring = document.createElement("canvas").getContext("2d");
function shortened(names, most) {
  measuring.font = font(true);
  const fits = (text) => measuring.measureText(text).width <= most;
  return names.map((name) => {
    if (fits(name)) return name;
    const letters = [...name.slice(0, 200)];
    while (letters.length > 1 && !fits(letters.join("") + "\u2026")) letters.pop();
    return letters.join("") + "\u2026";
  });
}
const widest = (names) => {
  measuring.font = font(true);
  return names.reduce((most, name) => Math.max(most, measuring.measureText(name).width), 0);
};
const names = {queries: shortened(data.queries, 110), keys: shortened(data.keys, 110)};
const widths = {queries: widest(names.queries), keys: widest(names.keys)};

// Isolated from each other, because a name may be written from right to left.
const isolated = (name) => `\u2068${name}\u2069`;
function said(i, j) {
  return `${isolated(data.queries[i])}${arrow}${isolated(data.keys[j])}  ${textOf(weightAt(current(), i, j))}`;
}
const headName = () => [data.layers[state.layer], data.heads[state.head]].filter(Boolean).join(", ");

// The grid of heads: one button each, of which Tab reaches the chosen one.
const buttons = [];
function buildGrid() {
  const side = spread(Math.floor(520 / data.heads.length) - 6, 22, 84);
  const grid = byId("grid"), top = grid.createTHead(), line = top.insertRow(), body = grid.createTBody();
  const title = (row, name, most) => {
    const cell = row.appendChild(document.createElement("th")), text = document.createElement("div");
    text.textContent = text.title = name;
    if (most) text.style.maxWidth = `${most}px`;
    cell.appendChild(text);
  };
  const upright = widest(shortened(data.heads, 130)) > side + 4;
  if (upright) top.className = "upright";
  line.appendChild(document.createElement("td"));
  data.heads.forEach((name) => title(line, name, upright ? 0 : side + 4));
  data.layers.forEach((name, layer) => {
    const row = body.insertRow();
    title(row, name, 0);
    data.heads.forEach((headed, head) => {
      const button = document.createElement("button"), canvas = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-label", button.title = [name, headed].filter(Boolean).join(", "));
      button.addEventListener("click", () => choose(layer, head));
      button.addEventListener("keydown", (event) => moveInGrid(event, layer, head));
      button.appendChild(canvas);
      row.insertCell().appendChild(button);
      buttons.push(button);
    });
  });
  grid.dataset.side = side;
}

function drawGrid() {
  const side = Number(byId("grid").dataset.side), longest = Math.max(rows, cols);
  const sharp = Math.ceil(side * (window.devicePixelRatio || 1));
  buttons.forEach((button, k) => {
    const map = mapOf(Math.floor(k / data.heads.length), k % data.heads.length);
    const picture = pictureOf(map, rangeOf(map), sharp), canvas = button.firstChild;
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.style.width = `${Math.max(8, Math.round(side * cols / longest))}px`;
    canvas.style.height = `${Math.max(8, Math.round(side * rows / longest))}px`;
    canvas.getContext("2d").drawImage(picture, 0, 0);
  });
}

const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
function moveInGrid(event, layer, head) {
  if (!(event.key in steps)) return;
  event.preventDefault();
  const [down, right] = steps[event.key];
  choose(spread(layer + down, 0, data.layers.length - 1), spread(head + right, 0, data.heads.length - 1));
  buttons[state.layer * data.heads.length + state.head].focus();
}

// The large map: as large as there is room beside the column, or below it.
const place = {};
function measureMap() {
  const longest = Math.max(rows, cols), rise = Math.ceil(0.71 * widths.keys);
  place.left = Math.ceil(widths.queries) + 12;
  const around = place.left + rise + 120, beside = innerWidth - around - byId("column").offsetWidth;
  const free = beside < 320 ? innerWidth - around : beside;
  const cell = spread(Math.min(free, innerHeight - rise - 60) / longest, 2, 52) * state.zoom;
  place.cell = Math.min(cell < 6 ? Math.max(cell, 1) : Math.floor(cell), 8192 / longest);
  place.slanted = widths.keys + 6 > place.cell;
  place.top = 22 + (place.slanted ? rise : 0);
  place.width = place.left + Math.ceil(place.cell * cols) + (place.slanted ? Math.max(4, rise) : 4);
  place.height = place.top + Math.ceil(place.cell * rows) + 4;
}

let picture = null;
function drawMap() {
  const map = current(), pen = sized(byId("map"), place.width, place.height), {cell, left, top} = place;
  picture = picture || pictureOf(map, rangeOf(map), 8192);
  pen.imageSmoothingEnabled = cell < 1;
  pen.drawImage(picture, left, top, cell * cols, cell * rows);
  if (cell >= 10) drawGaps(pen);
  drawNames(pen);
  if (cell >= 34 && rows * cols <= 4096) drawNumbers(pen, map);
  const frame = (x, y, width, height) => {
    for (const [colour, line] of [["#000000", 4], ["#ffffff", 2]]) {
      pen.strokeStyle = colour;
      pen.lineWidth = line;
      pen.strokeRect(x, y, width, height);
    }
  };
  pen.fillStyle = themed("--accent");
  pen.fillRect(left - 5, top + state.query * cell, 3, Math.max(cell, 3));
  if (state.cell) frame(left + state.cell[1] * cell, top + state.cell[0] * cell, cell, cell);
}

function drawGaps(pen) {
  const {cell, left, top} = place;
  pen.fillStyle = themed("--panel");
  for (let i = 1; i < rows; ++i) pen.fillRect(left, top + i * cell - 0.5, cell * cols, 1);
  for (let j = 1; j < cols; ++j) pen.fillRect(left + j * cell - 0.5, top, 1, cell * rows);
}

// The first name always shows, then every one that does not touch one that shows.
function apart(order, position, room) {
  const taken = [];
  for (const k of order)
    if (taken.every((other) => Math.abs(position(k) - position(other)) >= room)) taken.push(k);
  return taken;
}
const evenly = (first, count, step) =>
  [...first.filter((k) => k >= 0), ...range(count).filter((k) => k % Math.max(1, step) === 0)];

function drawNames(pen) {
  const {cell, left, top, slanted} = place, [row, col] = state.cell || [-1, -1];
  const label = (text, x, y, angle, align, bold) => {
    pen.save();
    pen.translate(x, y);
    pen.rotate(angle);
    pen.font = font(bold);
    pen.fillStyle = themed(bold ? "--accent" : "--ink");
    pen.textAlign = align;
    pen.textBaseline = "middle";
    pen.fillText(text, 0, 0);
    pen.restore();
  };
  const middle = (k) => (k + 0.5) * cell, room = slanted ? 17 : 13;
  for (const i of apart(evenly([row, state.query], rows, Math.ceil(13 / cell)), middle, 12.9))
    label(names.queries[i], left - 8, top + middle(i), 0, "right", i === row);
  for (const j of apart(evenly([col], cols, Math.ceil(room / cell)), middle, room - 0.1))
    if (slanted) label(names.keys[j], left + middle(j) + 2, top - 8, -Math.PI / 4, "left", j === col);
    else label(names.keys[j], left + middle(j), top - 10, 0, "center", j === col);
}

function drawNumbers(pen, map) {
  const {cell, left, top} = place;
  pen.font = measuring.font = font(false);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let i = 0; i < rows; ++i)
    for (let j = 0; j < cols; ++j) {
      const x = weightAt(map, i, j), text = textOf(x, 2);
      if (measuring.measureText(text).width > cell - 4) continue;
      pen.fillStyle = isBright(colourOf(x, rangeOf(map))) ? "#000000" : "#ffffff";
      pen.fillText(text, left + (j + 0.5) * cell, top + (i + 0.5) * cell + 0.5);
    }
}
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
