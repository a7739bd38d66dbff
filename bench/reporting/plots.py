"""The page's plots, as inline SVG whose colours are the page's.

A plot is about as wide as a telephone: a grid of them fills a wider window, and
letters have the same size in both.
"""

import html
import math

WIDTH = 344
_LABELS = 142  # for names, on the left
_ROW = 22
_TOP = 30


def _text(x, y, words, kind="", anchor="start"):
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">'
            f"{html.escape(str(words))}</text>")


def svg(shapes, height, title):
    """A plot of WIDTH by `height`, which `title` names for whoever can't see it."""
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
            f'aria-label="{html.escape(title)}">{"".join(shapes)}</svg>')


def number(value):
    """Three digits that count, or as many as are before the point."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _powers(least, most):
    """Powers of ten around two positive numbers."""
    low = math.floor(math.log10(least))
    high = max(math.ceil(math.log10(most)), low + 1)
    return low, high


def round_up(value):
    """The next number of one or two digits and noughts, 1 at least."""
    unit = 10 ** max(math.floor(math.log10(max(value, 1))), 0)
    step = unit / 5 if unit > 1 else unit
    return math.ceil(max(value, 1) / step) * step


def dots(title, unit, rows):
    """A dot for each row, on a logarithmic axis.

    Args:
      title: what the plot is of.
      unit: of the axis, in words.
      rows: (name, value > 0, kind) each; kind is a class of the page's style.
    """
    low, high = _powers(min(row[1] for row in rows), max(row[1] for row in rows))
    left, right = _LABELS, WIDTH - 48

    def at(value):
        return left + (right - left) * (math.log10(value) - low) / (high - low)

    bottom = _TOP + _ROW * len(rows)
    shapes = [_text(0, 14, title, "title")]
    for power in range(low, high + 1):
        x = at(10 ** power)
        shapes.append(f'<path d="M{x:.1f} {_TOP - 6}V{bottom}" class="grid"/>')
        if high - low < 5 or (power - low) % 2 == 0:  # else they run into each other
            shapes.append(_text(x, bottom + 15, f"{10 ** power:,g}", "axis", "middle"))
    for i, (name, value, kind) in enumerate(rows):
        y = _TOP + _ROW * i + 8
        x = at(value)
        shapes.append(_text(left - 10, y + 4, name, f"name {kind}", "end"))
        shapes.append(f'<path d="M{left} {y}H{x:.1f}" class="stem {kind}"/>')
        shapes.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" class="dot {kind}"/>')
        shapes.append(_text(x + 9, y + 4, number(value), f"value {kind}"))
    shapes.append(_text((left + right) / 2, bottom + 30, unit, "axis", "middle"))
    return svg(shapes, bottom + 36, title)


def bars(title, unit, rows, top, room=0):
    """A bar for each row, from nought to `top`.

    Args:
      title: what the plot is of.
      unit: of the axis, in words.
      rows: (name, value, words, remark beside the bar, kind) each.
      top: the axis ends here.
      room: for remarks.
    """
    left, right = _LABELS, WIDTH - 12 - room
    bottom = _TOP + _ROW * len(rows)
    shapes = [_text(0, 14, title, "title")]
    for share in (0, 0.5, 1):
        x = left + (right - left) * share
        shapes.append(f'<path d="M{x:.1f} {_TOP - 6}V{bottom}" class="grid"/>')
        shapes.append(_text(x, bottom + 15, f"{top * share:,.0f}", "axis", "middle"
                            if share < 1 or room else "end"))
    for i, (name, value, words, remark, kind) in enumerate(rows):
        y = _TOP + _ROW * i
        width = (right - left) * value / top
        shapes.append(_text(left - 10, y + 12, name, f"name {kind}", "end"))
        shapes.append(f'<rect x="{left}" y="{y + 1}" width="{max(width, 1):.1f}" '
                      f'height="{_ROW - 7}" rx="2" class="bar {kind}"/>')
        if width > 7 * len(words) + 10:
            shapes.append(_text(left + width - 6, y + 12, words, "inside", "end"))
        else:
            remark = f"{words} {remark}".strip()
        shapes.append(_text(left + width + 6, y + 12, remark, "value"))
    shapes.append(_text((left + right) / 2, bottom + 30, unit, "axis", "middle"))
    return svg(shapes, bottom + 36, title)


def lines(title, unit, series, ticks):
    """Values by the number of threads; both axes are logarithmic.

    Args:
      title: what the plot is of.
      unit: of the values, in words.
      series: (name, {threads: value > 0}, kind) each.
      ticks: the numbers of threads.
    """
    left, right, height = 44, WIDTH - 100, 190
    values = [value for _, points, _ in series for value in points.values()]
    low, high = _powers(min(values), max(values))
    bottom = _TOP + height

    def x_of(threads):
        return left + (right - left) * math.log2(threads) / math.log2(ticks[-1])

    def y_of(value):
        return bottom - height * (math.log10(value) - low) / (high - low)

    shapes = [_text(0, 14, title, "title")]
    for power in range(low, high + 1):
        y = y_of(10 ** power)
        shapes.append(f'<path d="M{left} {y:.1f}H{right}" class="grid"/>')
        shapes.append(_text(left - 6, y + 4, f"{10 ** power:,g}", "axis", "end"))
    for threads in ticks:
        shapes.append(_text(x_of(threads), bottom + 16, threads, "axis", "middle"))
    ends = []
    for name, points, kind in series:
        path = " ".join(f"{x_of(threads):.1f},{y_of(value):.1f}"
                        for threads, value in sorted(points.items()))
        shapes.append(f'<polyline points="{path}" class="line {kind}"/>')
        for threads, value in points.items():
            shapes.append(f'<circle cx="{x_of(threads):.1f}" cy="{y_of(value):.1f}" '
                          f'r="3.5" class="dot {kind}"/>')
        ends.append([y_of(points[max(points)]) + 4, name, kind])
    # Names beside the ends of their lines, none over another.
    ends.sort()
    for i, end in enumerate(ends):
        if i > 0:
            end[0] = max(end[0], ends[i - 1][0] + 15)
        shapes.append(_text(right + 8, end[0], end[1], f"name {end[2]}"))
    shapes.append(_text((left + right) / 2, bottom + 32, f"threads; {unit}", "axis",
                        "middle"))
    return svg(shapes, bottom + 38, title)


def heat(title, columns, rows, ratios):
    """Ratios as a table of cells: 1 is level, and what is less than 0.95 is marked.

    Args:
      title: what the plot is of.
      columns: numbers at the head; rows: numbers on the left.
      ratios: {(column, row): ratio}.
    """
    left, height = 46, 26
    width = (WIDTH - left) / len(columns)
    top = _TOP + 22
    shapes = [_text(0, 14, title, "title"), _text(0, _TOP + 14, "keep", "axis")]
    for i, column in enumerate(columns):
        shapes.append(_text(left + width * (i + 0.5), _TOP + 14, column, "axis", "middle"))
    for j, row in enumerate(rows):
        y = top + height * j
        shapes.append(_text(left - 8, y + 17, f"{row:,}", "axis", "end"))
        for i, column in enumerate(columns):
            ratio = ratios.get((column, row))
            if ratio is None:
                continue
            kind = "behind" if ratio < 0.95 else "ahead"
            depth = min(abs(math.log2(ratio)) * 0.35 + 0.06, 0.55)
            x = left + width * i
            shapes.append(f'<rect x="{x + 1:.1f}" y="{y + 1}" width="{width - 2:.1f}" '
                          f'height="{height - 2}" rx="3" class="cell {kind}" '
                          f'fill-opacity="{depth:.2f}"/>')
            mark = "◆" if kind == "behind" else ""
            shapes.append(_text(x + width / 2, y + 17, f"{mark}{ratio:.2f}", "cell",
                                "middle"))
    bottom = top + height * len(rows)
    shapes.append(_text(left + width * len(columns) / 2, bottom + 16,
                        "bulk: buffers taken by one call", "axis", "middle"))
    return svg(shapes, bottom + 22, title)
