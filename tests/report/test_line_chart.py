"""Line charts as SVG: proportions, gaps, and round numbers on the axes."""

import doctest
import re

import pytest

from cyclic.report import line_chart as module
from cyclic.report.line_chart import Reference, Series, line_chart, round_step


def test_example_runs():
    result = doctest.testmod(module)
    assert result.attempted and not result.failed


def heights(chart):
    return [float(y) for y in re.findall(r'cy="(.*?)"', chart)]


def test_a_chart_begins_at_zero_and_keeps_proportions():
    chart = line_chart("t", [Series("a", [(1, 0.2), (2, 0.4)])], reference=Reference("base", 0.3))
    zero = float(re.search(r'class="axis" d="M\d+ ([\d.]+)H', chart).group(1))
    base = float(re.search(r'class="reference" d="M\d+ ([\d.]+)H', chart).group(1))
    low, high = heights(chart)
    assert zero - high == pytest.approx(2 * (zero - low), abs=0.3)
    assert (low + high) / 2 == pytest.approx(base, abs=0.2)
    assert 'aria-label="t: a from 0.200 to 0.400; base 0.300"' in chart


def test_a_gap_in_the_values_is_a_gap_in_the_line():
    chart = line_chart("t", [Series("a", [(1, 1.0), (2, 1.0), (3, None), (4, 1.0), (5, 2.0)])])
    assert re.search(r'class="line" d="(.*?)"', chart).group(1).count("M") == 2 and len(heights(chart)) == 4


def test_no_value_no_chart():
    assert line_chart("t", []) == "" == line_chart("t", [Series("a", [(1, None)])])


@pytest.mark.parametrize("value", [0.0, 1e-7, 3.0, 12345.0])
def test_one_value_makes_a_chart(value):
    assert len(heights(line_chart("t", [Series("a", [(1, value)])]))) == 1


@pytest.mark.parametrize("top", [1e-4, 0.013, 0.5, 1.0, 7.0, 1860.0])
def test_round_steps_are_few_and_reach_the_top(top):
    step = round_step(top)
    assert step * 2 <= top * 1.01 <= step * 5.06
