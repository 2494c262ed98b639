"""Line charts as inline SVG: small, sharp at any size, in the page's own colours, readable by a screen reader.

Colours are named by classes ("c0" to "c5", "dash1", ...), so the page's style sheet can draw them light or dark.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

WIDTH, HEIGHT = 360, 230
# Room around the plot for labels: left, right, top, bottom.
LEFT, RIGHT, TOP, BOTTOM = 40, 40, 16, 44
# With more points than this, markers and numbers would run into one another.
MAX_MARKERS = 8


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: what a pointer resting on a point reads.
        points: (x, y) pairs by ascending x; y None (a loss that was not finite) leaves a gap.
        css: classes that set colour and dashes.
        joined: draw a line through the points; else markers alone.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    css: str = "c0"
    joined: bool = True


class Reference(NamedTuple):
    """A level to compare with, drawn as a dashed line through the whole chart."""

    name: str
    value: float


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    ticks: Sequence[tuple[float, str]] | None = None,
    groups: Sequence[tuple[float, float, str]] = (),
    x_name: str = "",
    reference: Reference | None = None,
    top: float | None = None,
    labelled: bool = False,
) -> Markup:
    """Return a chart as an `<svg>` element. The vertical axis begins at 0.

    Args:
        title: heading, and the beginning of the text alternative.
        series: lines; those without a finite value are skipped.
        ticks: (x, label) pairs below the axis; None: round numbers.
        groups: (first x, last x, label) brackets under the ticks.
        x_name: name of the horizontal axis, instead of `groups`.
        reference: level to compare with.
        top: upper end of the vertical axis; None: a round number above all values.
        labelled: write the values beside their points, if they are few.
    """
    finite = [[(x, y) for x, y in line.points if y is not None] for line in series]
    values = [y for points in finite for _, y in points] + ([reference.value] if reference else [])
    positions = [x for points in finite for x, _ in points] + [x for x, _ in ticks or ()]
    if not values:
        return Markup("")
    step = round_step(top or max(values) * 1.08)
    top = top or step * max(1, math.ceil(max(values) * 1.08 / step))
    first, last = (min(positions), max(positions)) if positions else (0, 1)
    if ticks is None:
        ticks = [(x, f"{x:g}") for x in _round_numbers(first, last)]
    if ticks and (groups or first == last):  # single steps rather than a scale: keep them off the edges
        first, last = first - 0.5, last + 0.5

    def x_at(x: float) -> float:
        return round(LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT), 1)

    def y_at(y: float) -> float:
        return round(HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM), 1)

    parts = [_grid(step, top, y_at), _x_axis(ticks, groups, x_name, x_at)]
    if reference:
        parts.append(_reference(reference, y_at(reference.value)))
    for line in series:
        parts.append(_series(line, x_at, y_at, labelled))
    texts = [_summary(line.name, points) for line, points in zip(series, finite, strict=True) if points]
    if reference:
        texts.append(f"{reference.name} {reference.value:.3f}")
    return Markup('<figure class="chart"><figcaption>{}</figcaption>{}</figure>').format(
        title,
        Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
            WIDTH, HEIGHT, f"{title}: {'; '.join(texts)}", Markup("").join(parts)
        ),
    )


def round_step(top: float, steps: int = 5) -> float:
    """Return 1, 2 or 5 times a power of ten, so that at most about `steps` of them reach `top`.

    >>> round_step(0.47), round_step(3.1), round_step(180)
    (0.1, 1.0, 50.0)
    """
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top / steps))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor * steps >= top * (1 - 1e-9))


def _round_numbers(first: float, last: float) -> list[float]:
    step = max(round_step(last - first), 1)
    low = first if last - first < step else step * math.ceil(first / step)
    numbers = [low + index * step for index in range(int((last - low) / step) + 1)]
    return numbers if numbers[0] == first else [first, *numbers]


def _summary(name: str, points: list[tuple[float, float]]) -> str:
    begin, end = points[0][1], points[-1][1]
    return f"{name} {end:.3f}" if len(points) == 1 else f"{name} from {begin:.3f} to {end:.3f}"


def _grid(step: float, top: float, y_at) -> Markup:
    lines = []
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    for index in range(round(top / step) + 1):
        y, css = y_at(index * step), "axis" if index == 0 else "grid"
        lines.append(f'<path class="{css}" d="M{LEFT} {y}H{WIDTH - RIGHT}"/>')
        lines.append(f'<text class="end" x="{LEFT - 6}" y="{y + 4}">{index * step:.{decimals}f}</text>')
    return Markup("".join(lines))


def _x_axis(ticks, groups, x_name: str, x_at) -> Markup:
    base = HEIGHT - BOTTOM
    texts = [f'<text class="middle" x="{x_at(x)}" y="{base + 15}">{escape(label)}</text>' for x, label in ticks]
    for begin, end, label in groups:
        left, right = x_at(begin - 0.4), x_at(end + 0.4)
        texts.append(f'<path class="grid" d="M{left} {base + 21}H{right}"/>')
        texts.append(f'<text class="middle" x="{(left + right) / 2}" y="{base + 35}">{escape(label)}</text>')
    if x_name:
        middle = (LEFT + WIDTH - RIGHT) / 2
        texts.append(f'<text class="middle" x="{middle}" y="{base + 35}">{escape(x_name)}</text>')
    return Markup("".join(texts))


def _reference(reference: Reference, y: float) -> Markup:
    # The value is beside the plot, where no point can hide it.
    return Markup('<path class="reference" d="M{} {}H{}"><title>{}</title></path><text x="{}" y="{}">{}</text>').format(
        LEFT, y, WIDTH - RIGHT, reference.name, WIDTH - RIGHT + 5, y + 4, f"{reference.value:.3f}"
    )


def _series(series: Series, x_at, y_at, labelled: bool) -> Markup:
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in series.points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    points = [point for run in runs for point in run]
    parts = []
    if series.joined:
        path = "".join("M" + "L".join(f"{x_at(x)} {y_at(y)}" for x, y in run) for run in runs if run)
        parts.append(f'<path class="line" d="{path}"/>')
    few = len(points) <= MAX_MARKERS
    for x, y in points if few or not series.joined else [run[0] for run in runs if len(run) == 1]:
        title = escape(f"{series.name}: {y:.3f}")
        parts.append(f'<circle cx="{x_at(x)}" cy="{y_at(y)}" r="3.5"><title>{title}</title></circle>')
    if labelled and points:
        for x, y in points if few else points[-1:]:
            parts.append(f'<text class="halo middle value" x="{x_at(x)}" y="{y_at(y) - 8}">{y:.3f}</text>')
    kind = "joined" if series.joined else "markers"
    return Markup(f'<g class="{escape(series.css)} {kind}">{"".join(parts)}</g>')
