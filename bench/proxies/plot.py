"""Requests/s by total of buffers, a group of bars for each, as SVG."""

import html

from proxies import peers

_WIDTH = 960
_MARGIN = 24
_PANEL = 270  # height of a panel, with its title and its axis
_BARS = 180  # height of the tallest bar
_RED = "#b3261e"


def _text(x, y, words, *, size=12, fill="#5d6877", anchor="start", more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" '
            f'text-anchor="{anchor}"{more}>{html.escape(str(words))}</text>')


def _upright(x, y, words, fill):
    """Words that are read from the bottom up, from (x, y)."""
    return _text(x, y, words, size=11, fill=fill,
                 more=f' transform="rotate(-90 {x:.1f} {y:.1f})"')


def _bar(x, width, bottom, height, row):
    middle = x + width / 2
    shapes = [f'<rect x="{x:.1f}" y="{bottom - height:.1f}" width="{width:.1f}" '
              f'height="{height:.1f}" rx="2" '
              f'fill="{peers.PEERS[row["proxy"]].color}"/>']
    if row["stopped"]:
        return shapes + [_upright(middle + 4, bottom - 4 - height, "stops serving", _RED)]
    shapes.append(_text(middle, bottom - height - 4,
                        f"{row['requests_per_second'] / 1000:.1f}", size=10,
                        anchor="middle"))
    if row["errors"]:
        shapes.append(_upright(middle + 4, bottom - 6, f"{row['errors']:,} errors",
                               "#fff"))
    return shapes


def _panel(top, mode, rows):
    """The rows of one mode."""
    shapes = [_text(_MARGIN, top + 18, f"mode {mode}: thousand requests/s", size=14,
                    fill="#1b2330", more=' font-weight="bold"')]
    most = max(max(row["requests_per_second"] for row in rows), 1)
    totals = list(dict.fromkeys(row["buffers"] for row in rows))
    slot = (_WIDTH - 2 * _MARGIN) / len(totals)
    widest = max(sum(row["buffers"] == total for row in rows) for total in totals)
    width = (slot - 16) / widest
    bottom = top + _PANEL - 34
    for i, total in enumerate(totals):
        left = _MARGIN + i * slot
        group = [row for row in rows if row["buffers"] == total]
        for j, row in enumerate(group):
            height = _BARS * row["requests_per_second"] / most
            shapes += _bar(left + j * width, width - 2, bottom, height, row)
        label = f"{total} buffers" if total else "no limit"
        shapes.append(_text(left + len(group) * width / 2, bottom + 18, label,
                            anchor="middle"))
    shapes.append(f'<path d="M{_MARGIN} {bottom + .5:.1f}H{_WIDTH - _MARGIN}" '
                  'stroke="#b6bec9"/>')
    return shapes


def svg(rows):
    """A panel for each mode; the rows are of one size of body."""
    modes = list(dict.fromkeys(row["mode"] for row in rows))
    names = list(dict.fromkeys(row["proxy"] for row in rows))
    height = 40 + _PANEL * len(modes)
    shapes = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
              'font-family="sans-serif">',
              f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>']
    at = _MARGIN
    for name in names:
        peer = peers.PEERS[name]
        shapes += [f'<rect x="{at}" y="14" width="10" height="10" rx="2" '
                   f'fill="{peer.color}"/>', _text(at + 15, 23, peer.title)]
        at += 32 + 6.6 * len(peer.title)
    for i, mode in enumerate(modes):
        shapes += _panel(36 + i * _PANEL, mode,
                         [row for row in rows if row["mode"] == mode])
    return "\n".join(shapes + ["</svg>\n"])
