"""The report's pictures. One column wide, names above their marks: they read the same on a phone and on a desk.

Nothing is told by colour alone: every bar and point has its name and number beside it, series differ in shape or in
place, and each picture has its table. Names are drawn as they come: callers pass them through `markup.shown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from flows.pages.svg import WIDTH, drawn

LABEL_WIDTH = 36
"""characters that a name may have above its mark; a longer one keeps its beginning and its end"""
ROW = 42
PEOPLE, MODELS, KEPT, OUT, OTHER = "var(--people)", "var(--models)", "var(--kept)", "var(--out)", "var(--other)"
Domain = tuple[float, float]


@dataclass(frozen=True)
class Mark:
    """One row of a chart."""

    name: str
    value: float
    shown: str
    """the number as it is printed"""
    low: float | None = None
    high: float | None = None
    colour: str = OTHER
    shape: str = "circle"


@dataclass(frozen=True)
class Series:
    """What a colour and a shape stand for."""

    name: str
    colour: str
    shape: str = "circle"


def cut(name: str, width: int = LABEL_WIDTH) -> str:
    """A name short enough for a chart: its beginning and its end."""
    head = (width - 1) // 2
    return name if len(name) <= width else f"{name[:head]}…{name[-(width - 1 - head):]}"


def intervals(marks: Sequence[Mark], name: str, *, domain: Domain, title: str, reference: float | None = None) -> str:
    """One row per mark: a point in its interval, over an axis from `domain`; a dashed rule at `reference`."""
    rows = [
        {"i": i, "name": cut(mark.name), "value": _4(mark.value), "shown": mark.shown, "colour": mark.colour,
         "shape": mark.shape, "low": _4(mark.value if mark.low is None else mark.low),
         "high": _4(mark.value if mark.high is None else mark.high)}
        for i, mark in enumerate(marks)
    ]
    base, y = _of(rows), alt.Y("i:O", axis=None)
    line = base.mark_rule(strokeWidth=2.5, yOffset=8).encode(
        x=_x("low", domain, title), x2="high:Q", y=y, stroke=_given("colour"))
    point = base.mark_point(filled=True, size=110, opacity=1, yOffset=8, stroke="var(--paper)", strokeWidth=1).encode(
        x=_x("value", domain, title), y=y, fill=_given("colour"), shape=_given("shape"))
    return _drawn([*_rule_at(reference, domain, title), line, point, *_names(base, y)], ROW * len(rows), name)


def bars(marks: Sequence[Mark], name: str) -> str:
    """One row per mark: a bar from `low` (or 0) to `value`, its name and number above."""
    rows = [
        {"i": i, "name": cut(mark.name), "from": _4(mark.low or 0.0), "to": _4(mark.value), "shown": mark.shown,
         "colour": mark.colour}
        for i, mark in enumerate(marks)
    ]
    base, y = _of(rows), alt.Y("i:O", axis=None, scale=alt.Scale(paddingInner=0, paddingOuter=0))
    top = max((mark.value for mark in marks), default=0.0) or 1.0
    x = alt.X("from:Q", axis=None, scale=alt.Scale(domain=[0, _4(top)], nice=False))
    track = base.mark_bar(height=10, yOffset=8, fill="var(--soft)").encode(x=alt.value(0), x2=alt.value("width"), y=y)
    bar = base.mark_bar(height=10, yOffset=8).encode(x=x, x2="to:Q", y=y, fill=_given("colour"))
    return _drawn([track, bar, *_names(base, y)], (ROW - 4) * len(rows), name)


def columns(
    rows: Sequence[tuple[str, str, float]], series: Sequence[Series], name: str, *, title: str
) -> str:
    """Stacked columns: (x, series, value), x in the order of first appearance; the first series is at the bottom."""
    order = list(dict.fromkeys(x for x, _, _ in rows))
    place = {one.name: i for i, one in enumerate(series)}
    told = [{"x": x, "series": of, "y": _4(y), "place": place[of]} for x, of, y in rows]
    base = _of(told)
    bar = base.mark_bar(stroke="var(--paper)", strokeWidth=1, width={"band": 0.72}).encode(
        x=alt.X("x:O", sort=order, axis=alt.Axis(title=title, labelAngle=0, grid=False, labelOverlap=True)),
        y=alt.Y("y:Q", axis=alt.Axis(title=None, tickCount=4), stack="zero"), color=_legend(series), order="place:Q")
    total = base.mark_text(dy=-7, fontSize=11).encode(
        x=alt.X("x:O", sort=order), y=alt.Y("sum(y):Q"), text=alt.Text("sum(y):Q", format=",.4~g"))
    return _drawn([bar, *([total] if len(order) <= 8 else [])], 190, name)


def histogram(
    rows: Sequence[tuple[float, float, str, int]], series: Sequence[Series], name: str, *, domain: Domain, title: str
) -> str:
    """Stacked bars over numeric bins: (low, high, series, n)."""
    place = {one.name: i for i, one in enumerate(series)}
    told = [{"low": _4(low), "high": _4(high), "series": of, "n": n, "place": place[of]} for low, high, of, n in rows]
    x = alt.X("low:Q", bin="binned", scale=alt.Scale(domain=list(domain), nice=False),
              axis=alt.Axis(title=title, grid=False, tickCount=6))
    bar = _of(told).mark_bar(stroke="var(--paper)", strokeWidth=1).encode(
        x=x, x2="high:Q", y=alt.Y("n:Q", axis=alt.Axis(title=None, tickCount=4), stack="zero"),
        color=_legend(series), order="place:Q")
    return _drawn([bar], 190, name)


def dots(
    rows: Sequence[tuple[str, str, float]], series: Sequence[Series], name: str, *, domain: Domain, title: str,
    reference: float | None = None,
) -> str:
    """One row per name with a point per series: (name, series, value); a line joins the points of a row."""
    order = list(dict.fromkeys(of for of, _, _ in rows))
    told = [{"i": order.index(of), "name": cut(of, 54), "series": one, "value": _4(value)} for of, one, value in rows]
    base, y = _of(told), alt.Y("i:O", axis=None)
    line = base.mark_rule(strokeWidth=1.5, yOffset=8, stroke="var(--other)").encode(
        x=_x("min(value)", domain, title), x2="max(value):Q", y=y)
    point = base.mark_point(filled=True, size=110, opacity=1, yOffset=8).encode(
        x=_x("value", domain, title), y=y, color=_legend(series),
        shape=alt.Shape("series:N", scale=alt.Scale(
            domain=[one.name for one in series], range=[one.shape for one in series])))
    names = base.mark_text(align="left", yOffset=-9).encode(x=alt.value(0), y=y, text="min(name):N")
    return _drawn([*_rule_at(reference, domain, title), line, point, names], ROW * len(order), name)


def _of(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def _x(field: str, domain: Domain, title: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=alt.Scale(domain=[_4(end) for end in domain], nice=False, clamp=True),
                 axis=alt.Axis(title=title, tickCount=5))


def _rule_at(reference: float | None, domain: Domain, title: str) -> list[alt.Chart]:
    if reference is None:
        return []
    rule = _of([{"at": reference}]).mark_rule(stroke="var(--ink)", strokeDash=[3, 3])
    return [rule.encode(x=_x("at", domain, title))]


def _names(base: alt.Chart, y: alt.Y) -> list[alt.Chart]:
    """Name at the left and number at the right, above the mark of the row."""
    return [
        base.mark_text(align="left", yOffset=-9).encode(x=alt.value(0), y=y, text="name:N"),
        base.mark_text(align="right", yOffset=-9, fill="var(--dim)").encode(x=alt.value("width"), y=y, text="shown:N"),
    ]


def _given(field: str) -> dict[str, object]:
    """A channel whose values stand in the rows: no scale, no legend."""
    return {"field": field, "type": "nominal", "scale": None, "legend": None}


def _legend(series: Sequence[Series]) -> alt.Color:
    names, colours = [one.name for one in series], [one.colour for one in series]
    scale = alt.Scale(domain=names, range=colours)
    return alt.Color("series:N", scale=scale) if len(names) > 1 else alt.Color("series:N", scale=scale, legend=None)


def _drawn(layers: Sequence[alt.Chart], height: int, name: str) -> str:
    fit = alt.AutoSizeParams(type="fit-x", contains="padding")
    return drawn(alt.layer(*layers).properties(width=WIDTH, height=height, autosize=fit), name)


def _4(value: float) -> float:
    """Sums over threads differ in their last bits; four digits are more than a picture shows."""
    return round(value, 4) + 0.0
