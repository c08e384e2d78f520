"""From an Altair chart to inline SVG: drawn here and now, so that a page needs no script and no network.

Colours are CSS variables (`var(--people)`), so one picture serves light and dark. Vega writes much that a static
picture does not need; what is left out here is more than half of its bytes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, cast
from xml.etree import ElementTree

if TYPE_CHECKING:
    import altair as alt

WIDTH = 360
"""units of a chart: as wide as a phone's column, so that its text is never scaled far"""
NOWHERE = ["https://nowhere.invalid/"]
"""the only place that drawing may ask: data are always inline"""
_SVG = "{http://www.w3.org/2000/svg}"
_NEEDLESS = {"class", "font-family", "pointer-events", "stroke-miterlimit", "version", "role", "aria-roledescription",
             "aria-label", "aria-hidden", "width", "height"}
_DEFAULTS = {("opacity", "1"), ("stroke-width", "1"), ("text-anchor", "start"), ("fill", "none"), ("stroke", "")}
_GEOMETRY = {"d", "transform", "x", "y", "x1", "x2", "y1", "y2", "width", "height", "viewBox"}
_LONG = re.compile(r"-?\d+\.\d{3,}(?:e-?\d+)?")
_CONFIG = {
    "background": None, "padding": {"left": 2, "right": 6, "top": 2, "bottom": 2}, "aria": False,
    "view": {"stroke": None},
    "axis": {"labelColor": "var(--dim)", "titleColor": "var(--dim)", "gridColor": "var(--line)", "labelFontSize": 12,
             "titleFontSize": 12, "titleFontWeight": "normal", "domain": False, "ticks": False, "labelPadding": 5},
    "legend": {"labelColor": "var(--ink)", "labelFontSize": 12, "title": None, "orient": "top", "symbolSize": 90,
               "labelLimit": 240, "columnPadding": 14, "offset": 18},
    "text": {"fontSize": 12, "fill": "var(--ink)"},
}


def drawn(chart: alt.TopLevelMixin, name: str) -> str:
    """SVG of a chart, `name` being what a screen reader says of it. Equal charts give equal text."""
    import vl_convert

    specification = cast("dict[str, object]", chart.to_dict())
    specification["config"] = _CONFIG
    picture = vl_convert.vegalite_to_svg(json.dumps(specification), allowed_base_urls=NOWHERE)
    return slim(picture, name)


def slim(picture: str, name: str) -> str:
    """The picture without what only scripts, fonts of other pages and XML readers need; named for screen readers."""
    root = ElementTree.fromstring(picture)
    _prune(root)
    root.attrib |= {"role": "img", "aria-label": name}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = {
            key: _rounded(value) if key in _GEOMETRY else value for key, value in element.attrib.items()
        }
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)


def _prune(root: ElementTree.Element) -> None:
    """Leave out invisible shapes, needless attributes, and groups that say nothing of their own."""
    for element in list(root):
        _prune(element)
        is_hidden = element.get("display") == "none" or element.get("opacity") == "0"
        is_empty = element.tag == f"{_SVG}path" and element.get("d", "") in ("", "M0,0h0v0h0Z")
        is_bare = element.tag == f"{_SVG}g" and not len(element)
        if is_hidden or is_empty or is_bare:
            root.remove(element)
    keep = {"viewBox"} if root.tag == f"{_SVG}svg" else set()
    is_shape = root.tag in (f"{_SVG}rect", f"{_SVG}image")
    root.attrib = {
        key: value for key, value in root.attrib.items()
        if key in keep or (is_shape and key in ("width", "height"))
        or (key not in _NEEDLESS and ((key, value) not in _DEFAULTS or (key, value) == ("fill", "none")))
    }


def _rounded(value: str) -> str:
    """Numbers to two decimals: a hundredth of a pixel."""
    return _LONG.sub(lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), value)
