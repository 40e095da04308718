#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// Weights as numbers and colours. Texts reach the page as text only (textContent, fillText), never
/// as HTML.
inline constexpr char data_script[] = R"page("use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const arrow = " \u2192 ";

// Names, or their count where they are the numbers from 0.
const sideOf = (given) => typeof given === "number" ? {count: given, names: null} : {count: given.length, names: given};
const queries = sideOf(data.queries), keys = data.keys === null ? queries : sideOf(data.keys);
const rows = queries.count, cols = keys.count;
const nameOf = (side, k) => side.names ? side.names[k] : String(k);

// A code below `levels` is a level; the four above it are what is no level.
const levelsOf = (bits) => 2 ** bits - 4;
const noLevel = [0, NaN, Infinity, -Infinity];
function valueOf(coding, code) {
  if (code >= coding.levels) return noLevel[code - coding.levels];
  const t = code / (coding.levels - 1);
  return coding.lowest * (1 - t) + coding.highest * t;
}

// Numbers of so many bytes each, the lower byte first.
function numbersOf(text, width) {
  const bytes = atob(text), numbers = new (width > 2 ? Uint32Array : Uint16Array)(bytes.length / width);
  for (let k = 0, at = 0; k < numbers.length; ++k, at += width) {
    let number = 0;
    for (let b = width - 1; b >= 0; --b) number = number * 256 + bytes.charCodeAt(at + b);
    numbers[k] = number;
  }
  return numbers;
}

// The weights of a head as rectangles of pixels, each the mean of a block of weights, or one weight (`exact`). The
// first rectangle is the whole map; others were computed again, to zoom. Decoded when they are first looked at.
const isLong = Boolean(data.details);
const [pixelRows, pixelCols] = isLong ? data.pixels : [rows, cols];
const parts = data.weights.map((weights, at) => [
  {queries: [0, rows], keys: [0, cols], rows: pixelRows, cols: pixelCols, lowest: data.lowest, highest: data.highest,
   precision: data.precision, weights},
  ...(isLong ? data.details[at].regions : [])].map((part, number) => {
    const [height, width] = [part.queries, part.keys].map(([begin, end]) => end - begin);
    const exact = part.rows === height && part.cols === width;
    return {...part, levels: levelsOf(data.bits), number, height, width, exact, codes: null};
  }));
const seen = new Set();  // what is not finite
function decoded(part) {
  if (part.codes) return part;
  const codes = part.codes = numbersOf(part.weights, data.bits / 8), {levels} = part;
  let least = levels, most = -1;
  for (let k = 0; k < codes.length; ++k) {
    const code = codes[k];
    if (code > levels) seen.add(noLevel[code - levels]);
    else if (code < levels) {
      if (code < least) least = code;
      if (code > most) most = code;
    }
  }
  const lowest = most < 0 ? 0 : Math.min(0, valueOf(part, least));
  const highest = most < 0 ? 0 : Math.max(0, valueOf(part, most));
  part.own = {lowest, highest: lowest === highest ? 1 : highest};
  part.weights = null;
  return part;
}
// Pixel r is of the rows from floor(r * height / rows) to the next pixel's first.
const pixelAt = (k, begin, count, pixels) => Math.floor(((k - begin + 1) * pixels - 1) / count);
function weightIn(part, i, j) {
  const r = pixelAt(i, part.queries[0], part.height, part.rows), c = pixelAt(j, part.keys[0], part.width, part.cols);
  return valueOf(part, decoded(part).codes[r * part.cols + c]);
}
const covers = (part, i, j) =>
  i >= part.queries[0] && i < part.queries[1] && j >= part.keys[0] && j < part.keys[1];

// The strongest weights of each query of a long map, as the report was given them.
const range = (count) => Array.from({length: count}, (_, k) => k);
function strongestOf(at) {
  const best = data.details[at];
  if (!best.codes) {
    best.levels = levelsOf(best.bits);
    best.codes = numbersOf(best.weights, best.bits / 8);
    best.numbers = numbersOf(best.keys, data.key_bytes);
    best.weights = best.keys = null;
  }
  return best;
}

// Keys of a query, the strongest first; of those without a weight (masked, NaN, -inf) none. Of a long map those that
// are known.
const isWeight = (x) => x !== 0 && x > -Infinity;
const stronger = (a, b) => b[1] - a[1] || a[0] - b[0];
const lately = {at: -1, query: -1, keys: []};
function ranked(at, query) {
  if (lately.at === at && lately.query === query) return lately.keys;
  const found = [], add = (j, x) => isWeight(x) && found.push([j, x]);
  if (isLong) {
    const best = strongestOf(at), first = query * best.count;
    for (let k = first; k < first + best.count; ++k)
      if (best.numbers[k] < cols) add(best.numbers[k], valueOf(best, best.codes[k]));
  } else {
    for (let j = 0; j < cols; ++j) add(j, weightIn(parts[at][0], query, j));
    found.sort(stronger);
  }
  Object.assign(lately, {at, query, keys: found});
  return found;
}

// Queries that look at a key, alike.
const latelyAt = {at: -1, key: -1, queries: []};
function lookers(at, key) {
  if (latelyAt.at === at && latelyAt.key === key) return latelyAt.queries;
  const found = [], add = (i, x) => isWeight(x) && found.push([i, x]);
  if (isLong) {
    const best = strongestOf(at);
    for (let k = best.numbers.indexOf(key); k >= 0; k = best.numbers.indexOf(key, k + 1))
      add(Math.floor(k / best.count), valueOf(best, best.codes[k]));
  } else {
    for (let i = 0; i < rows; ++i) add(i, weightIn(parts[at][0], i, key));
  }
  Object.assign(latelyAt, {at, key, queries: found.sort(stronger)});
  return found;
}

// The weight of a pair where it is known, else the mean of the smallest block that holds it.
function known(at, i, j) {
  const best = isLong && ranked(at, i).find(([key]) => key === j);
  if (best) return {x: best[1], precision: data.details[at].precision, exact: true};
  const cells = (part) => part.height / part.rows * (part.width / part.cols);
  const part = parts[at].filter((p) => covers(p, i, j)).reduce((a, b) => cells(b) < cells(a) ? b : a);
  return {x: weightIn(part, i, j), precision: part.precision, exact: part.exact, cells: cells(part)};
}

// Sums of the weights of each key, and the entropy of each query, in nats: of what is stored, and of a long map by its
// pixels and as the report was given it. Where weights are no probabilities there are none.
const figuresKept = new Map();
function figuresOf(at) {
  if (!figuresKept.has(at)) figuresKept.set(at, isLong ? figuresOfLong(at) : figuresOfWhole(at));
  return figuresKept.get(at);
}
function figuresOfLong(at) {
  const part = decoded(parts[at][0]), sums = new Float64Array(pixelCols), given = data.details[at].entropies;
  const heightOf = (r) => Math.floor((r + 1) * rows / pixelRows) - Math.floor(r * rows / pixelRows);
  for (let r = 0, k = 0; r < pixelRows; ++r)
    for (let c = 0; c < pixelCols; ++c, ++k) sums[c] += heightOf(r) * valueOf(part, part.codes[k]);
  const coding = given && {...given, levels: levelsOf(data.bits)};
  const entropies = given ? Float64Array.from(numbersOf(given.weights, data.bits / 8), (code) => valueOf(coding, code)) : null;
  return {sums, most: largest(sums), entropies};
}
function figuresOfWhole(at) {
  const part = decoded(parts[at][0]), sums = new Float64Array(cols), entropies = new Float64Array(rows);
  let probabilities = true;
  for (let i = 0, k = 0; i < rows; ++i) {
    let all = 0, mixed = 0;
    for (let j = 0; j < cols; ++j, ++k) {
      const x = valueOf(part, part.codes[k]);
      sums[j] += x;
      all += x;
      if (x > 0) mixed += x * Math.log(x);
      probabilities = probabilities && x >= 0 && x <= 1;
    }
    entropies[i] = all > 0 ? Math.max(0, Math.log(all) - mixed / all) : 0;
  }
  return probabilities ? {sums, most: largest(sums), entropies} : {sums: null, entropies: null};
}
const largest = (values) => values.reduce((most, x) => Math.max(most, x), 0) || 1;

// 0 at the lowest, 1 at the highest; in halves, because their difference may overflow.
function placed(x, scale) {
  const all = scale.highest / 2 - scale.lowest / 2;
  return all > 0 ? Math.min(1, Math.max(0, (x / 2 - scale.lowest / 2) / all)) : 0;
}
const joined = (scales) => ({lowest: Math.min(...scales.map((s) => s.lowest)),
                             highest: Math.max(...scales.map((s) => s.highest))});

const palette = range(1024).map((k) => {
  const at = k / 1023 * 9, low = Math.min(Math.floor(at), 8);
  return data.ramp[low].map((c, p) => Math.round(c + (at - low) * (data.ramp[low + 1][p] - c)));
});
const unusual = [[NaN, "NaN", [230, 97, 0]], [Infinity, "inf", [255, 255, 255]],
                 [-Infinity, "-inf", [200, 200, 200]]];
function colourOf(x, scale) {
  if (!Number.isFinite(x)) return unusual.find((u) => Object.is(u[0], x))[2];
  return palette[Math.round(1023 * placed(x, scale))];
}
const css = (c) => `rgb(${c[0]},${c[1]},${c[2]})`;
function isBright(c) {
  const [r, g, b] = c.map((v) => (v / 255) ** 2.2);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}

// As many digits as the precision has, and no more; what a reader sees is off by half of the last one, too.
const digitsOf = (precision) => Math.max(0, Math.ceil(-Math.log10(2 * precision)));
function shownPrecision(precision) {
  const digits = digitsOf(precision);
  return (precision + (digits > 9 ? 0 : 0.5 * 10 ** -digits)).toPrecision(2);
}
function textOf(x, precision, decimals = 99) {
  const digits = digitsOf(precision);
  if (!Number.isFinite(x)) return unusual.find((u) => Object.is(u[0], x))[1];
  if (x === 0) return "0";
  if (Math.abs(x) < 1e5 && digits <= 9) return x.toFixed(Math.min(decimals, digits));
  const figures = Math.floor(Math.log10(Math.abs(x)) - Math.log10(precision));
  return x.toExponential(Math.min(Math.max(figures, 0), decimals < digits ? 1 : 6));
}

// A picture of a part, `step` of its pixels a side in one; of those that share one it has the strongest.
function pictureOf(part, scale, step) {
  const {codes, rows: height, cols: width} = decoded(part), canvas = document.createElement("canvas");
  canvas.width = Math.ceil(width / step);
  canvas.height = Math.ceil(height / step);
  const best = new Float64Array(canvas.width * canvas.height).fill(-Infinity);
  for (let i = 0, k = 0; i < height; ++i) {
    const row = Math.floor(i / step) * canvas.width;
    for (let j = 0; j < width; ++j, ++k) {
      const x = valueOf(part, codes[k]), to = row + (step === 1 ? j : Math.floor(j / step));
      if (x > best[to] || x !== x) best[to] = x;
    }
  }
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height), bytes = image.data;
  for (let k = 0; k < best.length; ++k) {
    const colour = colourOf(best[k], scale);
    bytes[4 * k] = colour[0];
    bytes[4 * k + 1] = colour[1];
    bytes[4 * k + 2] = colour[2];
    bytes[4 * k + 3] = 255;
  }
  pen.putImageData(image, 0, 0);
  return canvas;
}
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
