"""A bar chart as SVG text, on a logarithmic axis: a peer's time over softlook's."""

import math
from html import escape

COLOURS = ["#c44e52", "#dd8452", "#4c72b0", "#55a868", "#8172b3"]
BAR, GAP, LEFT, WIDTH, TOP = 11, 14, 340, 560, 70


def ticks(highest):
    """1, 2, 5, 10, ... up to the first that is not below `highest`, from 0.5."""
    values, decade = [0.5, 1], 1
    while values[-1] < highest:
        values += [2 * decade, 5 * decade, 10 * decade]
        decade *= 10
    return values[: next(k for k, x in enumerate(values) if x >= highest and x > 1) + 1]


def text(x, y, words, anchor="start", size=11):
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def bar_chart(groups, columns):
    """groups: [(label, {column: ratio})]."""
    axis = ticks(max([2, *(x for _, bars in groups for x in bars.values())]))
    low, high = math.log(axis[0]), math.log(axis[-1])

    def place(ratio):
        return LEFT + WIDTH * (math.log(max(ratio, axis[0])) - low) / (high - low)

    bottom = TOP + sum(BAR * max(1, len(bars)) + GAP for _, bars in groups)
    body = [
        text(20, 24, "Time of a call over softlook's (1 = as fast; medians of rounds)", size=14)
    ]
    for k, column in enumerate(columns):
        body.append(
            f'<rect x="{LEFT + 130 * k}" y="38" width="10" height="10" fill="{COLOURS[k]}"/>'
        )
        body.append(text(LEFT + 130 * k + 15, 47, column))
    for tick in axis:
        colour = "#333" if tick == 1 else "#ddd"
        body.append(f'<path d="M{place(tick):.1f} {TOP - 6}V{bottom}" stroke="{colour}"/>')
        body.append(text(place(tick), bottom + 14, f"{tick:g}", "middle"))
    y = TOP
    for label, bars in groups:
        body.append(text(LEFT - 8, y + BAR * max(1, len(bars)) / 2 + 4, label, "end"))
        for column, ratio in bars.items():
            start, end = sorted((place(1), place(ratio)))
            body.append(
                f'<rect x="{start:.1f}" y="{y}" width="{end - start:.1f}" height="{BAR - 1}"'
                f' fill="{COLOURS[columns.index(column)]}"/>'
            )
            body.append(text(max(start, end) + 4, y + BAR - 2, f"{ratio:.2f}", size=9))
            y += BAR
        y += GAP if bars else BAR + GAP
    box = f'viewBox="0 0 {LEFT + WIDTH + 60} {bottom + 30}"'
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            *body,
            "</svg>",
            "",
        ]
    )
