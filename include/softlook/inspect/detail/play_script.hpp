#pragma once

#include "softlook/core/config.hpp"

SOFTLOOK_NAMESPACE_BEGIN
namespace detail::report_page {

/// Going from query to query, by number, by search and by itself; colours, print; what the page
/// says of itself; and the start.
inline constexpr char play_script[] = R"page(
const playing = {timer: 0};
function play(on) {
  clearInterval(playing.timer);
  playing.timer = 0;
  if (on) {
    if (state.query === rows - 1) chooseQuery(0);
    playing.timer = setInterval(() => {
      if (state.query + 1 >= rows) return play(false);
      chooseQuery(state.query + 1);
    }, 1000 / Number(byId("speed").value));
  }
  byId("play").textContent = on ? "Pause" : "Play";
  byId("reading").setAttribute("aria-live", on ? "off" : "polite");
}

// The next one after `from` whose name holds the text; #7, or a number where there are no names, is that one.
function found(side, text, from) {
  const number = Number(side.names ? text.replace(/^#(?=\d+$)/, "") : text.replace("#", ""));
  if (!side.names || /^#\d+$/.test(text)) return Number.isInteger(number) && number >= 0 && number < side.count ? number : -1;
  const wanted = text.toLowerCase();
  for (let k = 1; k <= side.count; ++k) {
    const at = (from + k) % side.count;
    if (side.names[at].toLowerCase().includes(wanted)) return at;
  }
  return -1;
}
function search() {
  const text = byId("wanted").value.trim(), inKeys = byId("side").value === "keys";
  if (!text) return;
  const from = inKeys ? (state.cell ? state.cell[1] : -1) : byId("found").dataset.text === text ? state.query : state.query - 1;
  const side = inKeys ? keys : queries, at = found(side, text, from);
  byId("found").textContent = at < 0 ? "not found" : `${fullName(side, at)}, ${at + 1} of ${side.count}`;
  byId("found").dataset.text = text;
  if (at < 0) return;
  if (inKeys) pointAt([state.query, at], true);
  else chooseQuery(at);
}

function listenToControls() {
  byId("query").max = String(rows - 1);
  byId("query").addEventListener("change", (event) => chooseQuery(Math.round(Number(event.target.value)) || 0));
  byId("play").addEventListener("click", () => play(!playing.timer));
  byId("speed").addEventListener("change", () => playing.timer && play(true));
  byId("find").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  byId("own").addEventListener("change", () => {
    pictures.clear();
    drawGrid();
    show();
  });
  addEventListener("resize", () => {
    measureMap();
    drawMap();
    drawLines();
  });
}

// Light or dark as the system says, until the reader says otherwise; on paper light.
function listenToTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)"), paper = matchMedia("print"), root = document.documentElement;
  let asked = "", printing = false;
  const follow = () => {
    root.dataset.theme = printing || paper.matches ? "light" : asked || (dark.matches ? "dark" : "light");
    byId("theme").textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
    show();
  };
  const print = (now) => () => {
    printing = now;
    follow();
  };
  dark.addEventListener("change", follow);
  paper.addEventListener("change", follow);
  addEventListener("beforeprint", print(true));
  addEventListener("afterprint", print(false));
  byId("theme").addEventListener("click", () => {
    asked = root.dataset.theme === "dark" ? "light" : "dark";
    follow();
  });
  follow();
}

function describe() {
  byId("title").textContent = data.title || "Attention weights";
  const zero = "An exact 0 (a masked pair) is shown as 0.";
  const most = (figure) => Math.max(...data.details.map(figure));
  const stored = `A weight is stored in ${data.bits} bits: what is shown is within`, ofAll = shownPrecision(data.precision);
  const blocks = [[rows, pixelRows], [cols, pixelCols]].map(([all, pixels]) => Math.round(all / pixels)).join(" \u00d7 ");
  byId("precision").textContent = isLong
    ? `The map shows means of blocks of about ${blocks} weights, within ${ofAll} of what was computed. ` +
      `The ${most((d) => d.count)} strongest keys of each query are known within ${shownPrecision(most((d) => d.precision))}; ` +
      "zoomed in they are cells of their own, among the means of their blocks. White frames and the buttons above the map lead " +
      `to what was computed again. ${zero}`
    : `${stored} ${ofAll} of what was computed. ${zero}`;
  if (Math.max(pixelRows, pixelCols) > Number(byId("grid").dataset.side))
    byId("pooled").textContent = "A map with fewer pixels than cells shows the strongest of each.";
  const pen = byId("ramp").getContext("2d");
  range(128).forEach((k) => {
    pen.fillStyle = css(palette[Math.round(k / 127 * 1023)]);
    pen.fillRect(k, 0, 1, 12);
  });
}
function describeUnusual() {
  if (byId("unusual").childElementCount === seen.size) return;
  byId("unusual").replaceChildren();
  for (const [x, text, colour] of unusual) {
    if (!seen.has(x)) continue;
    const swatch = byId("unusual").appendChild(document.createElement("span"));
    swatch.className = "swatch";
    swatch.style.background = css(colour);
    byId("unusual").append(`${text}  `);
  }
}

buildGrid();
describe();
measureLines();
listRegions();
sized(byId("lines"), lines.width, lines.height);
measureMap();  // beside the lines, which have their width now
listenToMap();
listenToLines();
listenToControls();
listenToTheme();
drawGrid();
performance.mark("drawn");
)page";

}  // namespace detail::report_page
SOFTLOOK_NAMESPACE_END
