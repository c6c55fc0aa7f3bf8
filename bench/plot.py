"""The picture of bench/compare: every broker relative to the floor, on a logarithmic scale.

Drawn with nothing but text. Shape and colour both tell the brokers apart.
"""

import math
from xml.sax.saxutils import escape

ROW, TOP, LABELS, PANEL, GAP = 24, 76, 250, 330, 40
COLOURS = {
    "Countersign": "#0072b2", "mosquitto": "#d55e00", "rumqttd": "#009e73", "FlashMQ": "#cc79a7",
}
PANELS = [
    ("broker_cpu_us", "CPU for each, × the floor (less is better)"),
    ("per_second", "how many a second, × the floor (more is better)"),
]


def svg(results):
    """The picture as a document."""
    names = [name for name in results.brokers if name in COLOURS]
    scenarios = [s for s in results.scenarios if s.has_cost]
    height = TOP + ROW * len(scenarios) + 40
    width = LABELS + len(PANELS) * (PANEL + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    x = LABELS
    for name in names:
        parts.append(mark(name, x, 20))
        parts.append(text(x + 12, 24, name))
        x += 40 + 8 * len(name)
    for row, scenario in enumerate(scenarios):
        y = TOP + ROW * row
        if row % 2 == 0:
            parts.append(f'<rect x="0" y="{y}" width="{width}" height="{ROW}" fill="#f4f4f4"/>')
        parts.append(text(LABELS - 12, y + 16, scenario.title, "end"))
    for place, (figure, title) in enumerate(PANELS):
        left = LABELS + place * (PANEL + GAP)
        parts += panel(results, scenarios, names, figure, title, left)
    return "\n".join([*parts, "</svg>", ""])


def panel(results, scenarios, names, figure, title, left):
    """One axis and the marks of all brokers."""
    values = [
        [(name, relative(results, scenario, name, figure)) for name in names]
        for scenario in scenarios
    ]
    known = [value for row in values for _, value in row if value] + [1]
    ticks = ticks_around(min(known), max(known))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def place(value):
        return left + PANEL * (math.log10(value) - low) / (high - low)

    bottom = TOP + ROW * len(scenarios)
    parts = [text(left, 48, title)]
    for value in ticks:
        x = place(value)
        colour = "#000000" if value == 1 else "#cccccc"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{colour}"/>')
        parts.append(text(x, bottom + 16, f"{value:g}", "middle"))
    for row, marks in enumerate(values):
        y = TOP + ROW * row + ROW / 2
        # Ours last, so that it lies on top.
        for name, value in reversed(marks):
            if value:
                parts.append(mark(name, place(value), y))
    return parts


def ticks_around(least, most):
    """1, 2, 5, 10 … from one not above the least to one not below the most."""
    steps = [step * 10.0**exponent for exponent in range(-6, 7) for step in (1, 2, 5)]
    first = max(place for place, step in enumerate(steps) if step <= least)
    last = min(place for place, step in enumerate(steps) if step >= most)
    return steps[first:max(last, first + 1) + 1]


def relative(results, scenario, name, figure):
    value, floor = results.value(scenario, name, figure), results.value(scenario, "floor", figure)
    if scenario.is_rate and figure == "per_second":
        return None
    return value / floor if value and floor else None


def mark(name, x, y):
    style = f'fill="{COLOURS[name]}" stroke="#ffffff" stroke-width="1"'
    match name:
        case "Countersign":
            return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" {style}/>'
        case "mosquitto":
            return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {style}/>'
        case "rumqttd":
            return f'<path d="M{x:.1f} {y - 6:.1f}l6 11h-12z" {style}/>'
        case _:
            return f'<path d="M{x:.1f} {y - 7:.1f}l6 7l-6 7l-6 -7z" {style}/>'


def text(x, y, words, anchor="start"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
