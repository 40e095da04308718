#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// The grid of heads and the large map, of which only what is in view is drawn. As in data_script,
/// texts are never HTML.
inline constexpr char view_script[] = R"page(
const state = {layer: data.layer, head: data.head, query: 0, cell: null, key: -1};
const current = () => state.layer * data.heads.length + state.head;
const themed = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);
const font = (bold) => `${bold ? "bold " : ""}12px system-ui, "DejaVu Sans", sans-serif`;
const spread = (x, lowest, highest) => Math.min(highest, Math.max(lowest, x));

// Heads share a scale, so that their colours can be compared, or each has its own.
const shared = parts[0].map((_, k) => joined(parts.flatMap((all) => all[k] ? [all[k]] : [])));
const scaleOf = (part) => byId("own").checked ? decoded(part).own : shared[part.number] || part;
// Of the weights of the chosen query. In a long sequence all are small beside the first query's, which sees one key.
const scaleOfKeys = (pairs) => pairs.reduce((scale, [, x]) =>
  Number.isFinite(x) ? {lowest: Math.min(scale.lowest, x), highest: Math.max(scale.highest, x)} : scale, {lowest: 0, highest: 0});
const scaleOfWeights = () => isLong ? scaleOfKeys(ranked(current(), state.query)) : scaleOf(parts[current()][0]);

// Two figures of the largest.
const decimalsOf = (scale) => Math.max(2, Math.ceil(1 - Math.log10(Math.max(Math.abs(scale.lowest), scale.highest, 1e-300))));

// A canvas of so many CSS pixels, sharp on any screen.
function sized(canvas, width, height) {
  const sharp = Math.min(window.devicePixelRatio || 1, 8192 / Math.max(width, height));
  const [across, down] = [Math.round(width * sharp), Math.round(height * sharp)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(sharp, 0, 0, sharp, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Names cut to a width, when they are first shown.
const measuring = document.createElement("canvas").getContext("2d");
function widthOf(text) {
  measuring.font = font(true);
  return measuring.measureText(text).width;
}
function shortened(name, most) {
  if (widthOf(name) <= most) return name;
  const letters = [...name.slice(0, 200)];
  while (letters.length > 1 && widthOf(letters.join("") + "\u2026") > most) letters.pop();
  return letters.join("") + "\u2026";
}
// Of many names those with the most letters are the widest, nearly.
function widest(side, most) {
  const length = (k) => nameOf(side, k).length;
  const order = side.count <= 400 ? range(side.count) : side.names
    ? range(side.count).sort((a, b) => length(b) - length(a)).slice(0, 400) : [side.count - 1];
  return Math.min(most, order.reduce((width, k) => Math.max(width, widthOf(nameOf(side, k))), 0));
}
const widths = {queries: widest(queries, 110), keys: widest(keys, 110)};
const short = new Map([[queries, new Map()], [keys, new Map()]]);
function shortName(side, k) {
  const made = short.get(side);
  if (!made.has(k)) made.set(k, shortened(nameOf(side, k), side === queries ? widths.queries : widths.keys));
  return made.get(k);
}

// Isolated from each other, because a name may be written from right to left. Of many, names come with their number.
const isolated = (name) => `\u2068${name}\u2069`;
const fullName = (side, k) => isolated(nameOf(side, k)) + (side.names && side.count > 200 ? ` #${k}` : "");
function saidOfKey(i, j) {
  const {x, precision, exact, cells} = known(current(), i, j), text = `${fullName(keys, j)}  ${textOf(x, precision)}`;
  return exact ? text : `${text}, the mean of ${Math.round(cells)} weights`;
}
const said = (i, j) => `${fullName(queries, i)}${arrow}${saidOfKey(i, j)}`;
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
  const upright = data.heads.some((name) => widthOf(shortened(name, 130)) > side + 4);
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
      canvas.width = canvas.height = 1;
      canvas.style.width = `${Math.max(8, Math.round(side * Math.min(1, cols / rows)))}px`;
      canvas.style.height = `${Math.max(8, Math.round(side * Math.min(1, rows / cols)))}px`;
      button.appendChild(canvas);
      row.insertCell().appendChild(button);
      buttons.push(button);
    });
  });
  grid.dataset.side = side;
}

// Large maps take long to decode: after 50 ms the others wait for a later frame.
let drawing = 0;
function drawGrid(first = 0, round = ++drawing) {
  if (round !== drawing) return;
  const sharp = Math.ceil(byId("grid").dataset.side * (window.devicePixelRatio || 1));
  const end = performance.now() + 50;
  let k = first;
  for (; k < buttons.length && (k === first || performance.now() < end); ++k) {
    const part = parts[k][0], canvas = buttons[k].firstChild;
    const picture = pictureOf(part, scaleOf(part), Math.ceil(Math.max(part.rows, part.cols) / sharp));
    canvas.width = picture.width;
    canvas.height = picture.height;
    canvas.getContext("2d").drawImage(picture, 0, 0);
  }
  describeUnusual();
  if (k < buttons.length) setTimeout(() => drawGrid(k, round));
}

const steps = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
function moveInGrid(event, layer, head) {
  if (!(event.key in steps)) return;
  event.preventDefault();
  const [down, right] = steps[event.key];
  choose(spread(layer + down, 0, data.layers.length - 1), spread(head + right, 0, data.heads.length - 1));
  buttons[current()].focus();
}

// The large map: a window of `width` x `height` pixels on a map whose cells are `across` x `down` pixels, beside the
// column or below it. `row` and `col`, which are no whole numbers, are at its corner.
const view = {row: 0, col: 0, zoom: 1}, place = {};
const strip = 18, stripGap = 5, stripRoom = strip + stripGap + 2;  // pixels beside the map and below it
function measureMap() {
  const rise = Math.ceil(0.71 * widths.keys);
  place.left = Math.ceil(widths.queries) + 12;
  const around = place.left + rise + 120, beside = innerWidth - around - byId("column").offsetWidth;
  const side = Math.max(Math.min(beside < 320 ? innerWidth - around + 46 : beside, innerHeight - rise - 80), 120);
  // Cells are squares, unless the map would be a strip.
  const whole = (x) => x < 6 ? x : Math.floor(x);
  const fit = (count) => whole(Math.min(52, Math.max(side / Math.max(rows, cols), side / 4 / count)));
  const fits = place.fits = {across: fit(cols), down: fit(rows)};
  place.most = 120 / Math.min(fits.across, fits.down);
  view.zoom = spread(view.zoom, 0.25, place.most);
  for (const [name, size, count] of [["across", "width", cols], ["down", "height", rows]]) {
    place[name] = whole(Math.min(fits[name] * view.zoom, 120));
    place[size] = Math.min(place[name] * count, side);
  }
  place.side = side;
  place.slanted = widths.keys + 6 > place.across;
  place.top = 22 + (place.slanted ? rise : 0);
  place.right = Math.max(stripRoom, place.slanted ? rise : 0);
  moveTo(view.row, view.col);
}
function moveTo(row, col) {
  const more = 1 + 1e-9;  // so that rounding hides no part of the last cell
  view.rows = Math.min(rows, place.height / place.down * more);
  view.cols = Math.min(cols, place.width / place.across * more);
  view.row = spread(row, 0, rows - view.rows);
  view.col = spread(col, 0, cols - view.cols);
}
const isWhole = () => view.rows >= rows && view.cols >= cols;
const inView = {rows: (i) => i + 1 > view.row && i < view.row + view.rows,
                cols: (j) => j + 1 > view.col && j < view.col + view.cols};

// Zooms so that what is at (x, y) of the window stays there, or what was there when a gesture began.
const under = (x, y) => ({row: view.row + y / place.down, col: view.col + x / place.across, zoom: view.zoom});
function zoom(by, x = place.width / 2, y = place.height / 2, from = under(x, y)) {
  view.zoom = from.zoom * by;
  measureMap();
  moveTo(from.row - y / place.down, from.col - x / place.across);
  drawMap();
  drawLines();
}
function zoomTo(part) {
  view.zoom = Math.min(place.side / part.width / place.fits.across, place.side / part.height / place.fits.down);
  measureMap();
  moveTo(part.queries[0], part.keys[0]);
  chooseQuery(spread(state.query, part.queries[0], part.queries[1] - 1));
}
// Moves the window, where it must, to a cell or a whole row; of a square map along its diagonal.
function reveal(i, j = null) {
  const before = view.row;
  if (!inView.rows(i)) moveTo(i + 0.5 - view.rows / 2, view.col);
  if (j === null && rows === cols) moveTo(view.row, view.col + view.row - before);
  if (j !== null && !inView.cols(j)) moveTo(view.row, j + 0.5 - view.cols / 2);
}

// Pictures of the parts of the chosen head, kept until another head or scale is chosen.
const pictures = new Map();
function drawPart(pen, part, scale) {
  const pixel = {across: place.across * part.width / part.cols, down: place.down * part.height / part.rows};
  const step = Math.max(1, Math.floor(1 / Math.min(pixel.across, pixel.down)));
  const name = [part.number, step, scale.lowest, scale.highest].join(" ");
  if (!pictures.has(name)) pictures.set(name, pictureOf(part, scale, step));
  const top = Math.max(view.row, part.queries[0]), bottom = Math.min(view.row + view.rows, part.queries[1]);
  const left = Math.max(view.col, part.keys[0]), right = Math.min(view.col + view.cols, part.keys[1]);
  if (top >= bottom || left >= right) return;
  const across = part.cols / part.width / step, down = part.rows / part.height / step;
  pen.imageSmoothingEnabled = Math.min(pixel.across, pixel.down) < 1;
  pen.drawImage(pictures.get(name), (left - part.keys[0]) * across, (top - part.queries[0]) * down,
                (right - left) * across, (bottom - top) * down, (left - view.col) * place.across,
                (top - view.row) * place.down, (right - left) * place.across, (bottom - top) * place.down);
}

// The finest region that fills half of the window; the strongest weights in view, where cells of a long map are large
// enough to see one and the region has not all of them; and what the colours are of.
function shown() {
  const all = parts[current()];
  const overlap = (from, count, [begin, end]) => Math.max(0, Math.min(from + count, end) - Math.max(from, begin));
  const filled = (part) => overlap(view.row, view.rows, part.queries) * overlap(view.col, view.cols, part.keys);
  const region = all.slice(1).filter((part) => filled(part) >= view.rows * view.cols / 2)
    .reduce((a, b) => a && a.height * a.width <= b.height * b.width ? a : b, null);
  const large = isLong && Math.min(place.across, place.down) >= 2, cells = large && !(region && region.exact) ? strongestInView() : [];
  if (cells.length > 0) return {region, cells, scale: scaleOfKeys(cells), precision: data.details[current()].precision};
  return {region, cells, scale: scaleOf(region || all[0]), precision: (region || data).precision};
}
function strongestInView() {  // [key, weight, query] of each
  const found = [];
  for (let i = Math.floor(view.row); i < Math.min(rows, view.row + view.rows); ++i)
    for (const [j, x] of ranked(current(), i)) if (inView.cols(j)) found.push([j, x, i]);
  return found;
}

function drawMap() {
  const {left, top, across, down, width, height} = place, {region, cells, scale, precision} = shown();
  const pen = sized(byId("map"), left + Math.ceil(width) + place.right, top + Math.ceil(height) + stripRoom);
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  pen.translate(left, top);
  drawPart(pen, parts[current()][0], scale);
  if (region) drawPart(pen, region, scale);
  else drawFrames(pen);
  for (const [j, x, i] of cells) {
    pen.fillStyle = css(colourOf(x, scale));
    pen.fillRect((j - view.col) * across, (i - view.row) * down, across, down);
  }
  if (Math.min(across, down) >= 10) drawGaps(pen);
  if (across >= 34 && down >= 14 && view.rows * view.cols <= 4096) drawNumbers(pen, scale);
  pen.restore();
  drawNames(pen);
  drawStrips(pen);
  pen.fillStyle = themed("--accent");
  if (inView.rows(state.query)) pen.fillRect(left - 5, top + (state.query - view.row) * down, 3, Math.max(down, 3));
  if (state.cell && inView.rows(state.cell[0]) && inView.cols(state.cell[1])) {
    const box = [Math.max(across, 5), Math.max(down, 5)];
    frame(pen, left + (state.cell[1] + 0.5 - view.col) * across - box[0] / 2,
          top + (state.cell[0] + 0.5 - view.row) * down - box[1] / 2, ...box);
  }
  // Two fingers zoom the map, one scrolls the page where the map cannot move.
  byId("map").style.touchAction = isWhole() ? "pan-x pan-y" : "none";
  for (const [element, x] of [["low", scale.lowest], ["high", scale.highest]])
    byId(element).textContent = Math.abs(x) < 0.001 && x !== 0 ? x.toExponential(2) : textOf(x, precision, 4);
}

// How much each key is looked at, below the map, and how widely each query looks, beside it. Sums are drawn by their root,
// for the first key has often most of all.
const rootOf = (x) => Math.sqrt(Math.max(0, x));
function drawStrips(pen) {
  const {left, top, across, down, width, height} = place, {sums, most, entropies} = figuresOf(current());
  if (!sums) return;
  pen.fillStyle = themed("--line");
  pen.fillRect(left, top + height + stripGap, width, 1);
  if (entropies) pen.fillRect(left + width + stripGap, top, 1, height);
  pen.fillStyle = themed("--accent");
  // Values that share `all` cells, from the corner of the window on; the largest of those that share a pixel.
  const bars = (values, corner, cell, size, all, draw) => {
    const each = cell * all / values.length, begin = corner * values.length / all;
    for (let at = 0, k = Math.floor(begin); at < size && k < values.length;) {
      const to = Math.min(size, Math.max(at + 1, (k + 1 - begin) * each)), last = Math.max(k + 1, Math.floor(begin + to / each + 1e-6));
      let x = 0;
      for (; k < Math.min(last, values.length); ++k) if (values[k] > x) x = values[k];
      draw(Math.round(at), Math.round(to) - Math.round(at), x);
      at = to;
    }
  };
  const gap = (size) => size >= 10 ? 1 : 0;
  bars(sums, view.col, across, width, cols, (at, size, x) => pen.fillRect(
    left + at, top + height + stripGap, size - gap(across), strip * rootOf(x / most)));
  if (entropies) bars(entropies, view.row, down, height, rows, (at, size, x) => pen.fillRect(
    left + width + stripGap, top + at, strip * Math.min(1, x / Math.log(cols)), size - gap(down)));
}
// What a strip tells at (x, y) of the window, or nothing.
function saidOfStrip(x, y) {
  const key = Math.floor(view.col + x / place.across), query = Math.floor(view.row + y / place.down);
  const inside = (from, to) => from >= 0 && from < to, beside = (at) => inside(at - stripGap, strip + 1);
  if (inside(x, place.width) && beside(y - place.height)) return saidOfKeySum(spread(key, 0, cols - 1));
  if (inside(y, place.height) && beside(x - place.width)) return saidOfEntropy(spread(query, 0, rows - 1));
  return "";
}
const figure = (x) => x === 0 ? "0" : x < 0.01 || x >= 1000 ? x.toPrecision(3) : x.toFixed(x < 10 ? 2 : 1);
function saidOfKeySum(j) {
  const {sums} = figuresOf(current());
  if (!sums) return "";
  const x = sums[pixelAt(j, 0, cols, sums.length)], ofBlock = sums.length < cols ? ", the mean of its block" : "";
  return `${fullName(keys, j)}: weight ${figure(x)} of ${rows} queries${ofBlock}`;
}
function saidOfEntropy(i) {
  const {entropies} = figuresOf(current());
  return entropies ? `${fullName(queries, i)}: entropy ${figure(entropies[i])} nats` : "";
}

function frame(pen, x, y, width, height) {
  for (const [colour, line] of [["#000000", 4], ["#ffffff", 2]]) {
    pen.strokeStyle = colour;
    pen.lineWidth = line;
    pen.strokeRect(x, y, width, height);
  }
}
// Where the reader can zoom in to weights that were computed again: a frame, however small the region.
function frameOf(part) {
  const more = 3;
  return [(part.keys[0] - view.col) * place.across - more, (part.queries[0] - view.row) * place.down - more,
          part.width * place.across + 2 * more, part.height * place.down + 2 * more];
}
const drawFrames = (pen) => parts[current()].slice(1).forEach((part) => frame(pen, ...frameOf(part)));
const framedAt = (x, y) => parts[current()].slice(1).find((part) => {
  const [left, top, width, height] = frameOf(part);
  return x >= left && x <= left + width && y >= top && y <= top + height;
});
function drawGaps(pen) {
  const {across, down, width, height} = place;
  pen.fillStyle = themed("--panel");
  for (let i = Math.max(1, Math.ceil(view.row)); i < rows && i < view.row + view.rows; ++i)
    pen.fillRect(0, (i - view.row) * down - 0.5, width, 1);
  for (let j = Math.max(1, Math.ceil(view.col)); j < cols && j < view.col + view.cols; ++j)
    pen.fillRect((j - view.col) * across - 0.5, 0, 1, height);
}

// The first name always shows, then every one that does not touch one that shows.
function apart(order, position, room) {
  const taken = [];
  for (const k of order)
    if (taken.every((other) => Math.abs(position(k) - position(other)) >= room)) taken.push(k);
  return taken;
}
// Some, then every so many of those between `first` and `end`.
function evenly(some, first, end, room) {
  const step = Math.max(1, Math.ceil(room)), order = some.filter((k) => k >= 0);
  for (let k = Math.ceil(first / step) * step; k < end; k += step) order.push(k);
  return order;
}

function drawNames(pen) {
  const {left, top, across, down, slanted} = place, [row, col] = state.cell || [-1, -1];
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
  const rowMiddle = (k) => (k + 0.5 - view.row) * down, colMiddle = (k) => (k + 0.5 - view.col) * across;
  const fits = (x, most) => x >= 0 && x <= most, room = slanted ? 17 : 13;
  const someRows = evenly([row, state.query], view.row, view.row + view.rows, 13 / down);
  for (const i of apart(someRows.filter((k) => fits(rowMiddle(k), place.height)), rowMiddle, 12.9))
    label(shortName(queries, i), left - 8, top + rowMiddle(i), 0, "right", i === row);
  const someCols = evenly([col], view.col, view.col + view.cols, room / across);
  for (const j of apart(someCols.filter((k) => fits(colMiddle(k), place.width)), colMiddle, room - 0.1))
    if (slanted) label(shortName(keys, j), left + colMiddle(j) + 2, top - 8, -Math.PI / 4, "left", j === col);
    else label(shortName(keys, j), left + colMiddle(j), top - 10, 0, "center", j === col);
}

function drawNumbers(pen, scale) {
  const {across, down} = place, decimals = decimalsOf(scale);
  pen.font = measuring.font = font(false);
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  for (let i = Math.floor(view.row); i < Math.min(rows, view.row + view.rows); ++i)
    for (let j = Math.floor(view.col); j < Math.min(cols, view.col + view.cols); ++j) {
      const {x, precision, exact} = known(current(), i, j), text = textOf(x, precision, decimals);
      if (!exact || measuring.measureText(text).width > across - 4) continue;
      pen.fillStyle = isBright(colourOf(x, scale)) ? "#000000" : "#ffffff";
      pen.fillText(text, (j + 0.5 - view.col) * across, (i + 0.5 - view.row) * down + 0.5);
    }
}
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
