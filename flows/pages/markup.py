"""HTML of the page's parts. Whatever comes from outside is text: escaped, control characters made visible, its
direction kept inside its own box, so that no text can be markup, style or a link.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import polars as pl

PREVIEW, LEAST_FOLDED = 600, 200
"""characters of a text that are shown; the rest is folded away, if it is worth a click"""
KEPT = frozenset("\n\t\u200c\u200d\u200e\u200f")
"""invisible, and part of good text: lines, tabs, joiners of emoji and scripts, marks of direction"""
_NO_TEXT = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
Format = Callable[[object], str]


class _Visible(dict[int, str]):
    """Character code → what is shown; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        hidden = unicodedata.category(char) in _NO_TEXT and char not in KEPT
        self[code] = char.encode("unicode_escape").decode("ascii") if hidden else char
        return self[code]


_VISIBLE = _Visible()


def shown(text: object) -> str:
    """A name on one line: control characters and breaks as escapes; not escaped for HTML yet."""
    return str(text).translate(_VISIBLE).replace("\n", "\\n").replace("\t", "\\t")


def esc(text: object) -> str:
    """A name as HTML text, isolated where it reads from right to left."""
    return html.escape(shown(text))


def name(text: object) -> str:
    """A name from outside inside a sentence: it may break anywhere and keeps its direction to itself."""
    return f"<bdi>{esc(text)}</bdi>"


def code(text: object) -> str:
    """Something to type or to search for."""
    return f"<code>{esc(text)}</code>"


def passage(text: object, n_whole: int, what: str) -> str:
    """A text of `n_whole` characters in a box: the beginning, the rest folded, what is cut off counted."""
    if text is None:
        return "<p class=dim>no longer there: it was erased</p>"
    whole = str(text)
    first, rest = _parted(whole)
    folded = f"<details><summary>{what}: {len(rest):,} more characters</summary>{_box(rest)}</details>" if rest else ""
    n_cut = n_whole - len(whole)
    missing = f"<p class=dim>{n_cut:,} further characters of {n_whole:,} are not on this page.</p>" if n_cut > 0 else ""
    return f"{_box(first) if first else '<p class=dim>empty</p>'}{folded}{missing}"


def _parted(text: str) -> tuple[str, str]:
    """Beginning and rest, between two words where there is one near."""
    if len(text) <= PREVIEW + LEAST_FOLDED:
        return text, ""
    end = max(text.rfind(" ", PREVIEW - 60, PREVIEW), text.rfind("\n", PREVIEW - 60, PREVIEW)) + 1 or PREVIEW
    return text[:end], text[end:]


def _box(text: str) -> str:
    return f'<div class=text dir=auto>{html.escape(text.replace(chr(13) + chr(10), chr(10)).translate(_VISIBLE))}</div>'


def section(place: str, title: str, lead: str, *parts: str) -> str:
    """A part of the page under its own heading; `lead` is HTML that says how to read it."""
    return (f'<section id="{html.escape(place)}" aria-labelledby="{html.escape(place)}-h">'
            f'<h3 id="{html.escape(place)}-h">{esc(title)}</h3><p class=lead>{lead}</p>{"".join(parts)}</section>')


def grid(*parts: str) -> str:
    """Figures beside each other where there is room."""
    return f"<div class=grid>{''.join(part for part in parts if part)}</div>"


def figure(picture: str, title: str, caption: str, numbers: str = "") -> str:
    """A picture under its title and what it says (HTML), its numbers folded beneath."""
    folded = f"<details><summary>Numbers</summary>{numbers}</details>" if numbers else ""
    return f"<figure><figcaption><b>{esc(title)}</b> {caption}</figcaption>{picture}{folded}</figure>"


def note(text: str) -> str:
    """A remark, or why there is nothing to show."""
    return f"<p class=note>{text}</p>"


def tiles(rows: Sequence[tuple[str, str, str]]) -> str:
    """Big numbers: (number, what it is, remark)."""
    cells = "".join(
        f"<div class=tile><dt>{esc(what)}</dt><dd>{esc(number)}<span>{esc(remark)}</span></dd></div>"
        for number, what, remark in rows)
    return f"<dl class=tiles>{cells}</dl>"


def commands(lines: Sequence[tuple[str, str]]) -> str:
    """Commands to type, each with what it does."""
    return "<ul class=commands>" + "".join(
        f"<li><span>{esc(what)}</span><code>{esc(line)}</code></li>" for line, what in lines) + "</ul>"


def table(frame: pl.DataFrame, caption: str, columns: Mapping[str, tuple[str, Format]]) -> str:
    """Rows under a caption, columns named and written as told; it scrolls by itself where it is too wide."""
    heads = "".join(f"<th scope=col{_side(frame, key) if i else ''}>{esc(title)}</th>"
                    for i, (key, (title, _)) in enumerate(columns.items()))
    body = "".join(_row(frame, columns, row) for row in frame.select(*columns).iter_rows())
    label = html.escape(shown(caption))
    return (f'<div class=scroll role=region tabindex=0 aria-label="{label}"><table><caption>{label}</caption>'
            f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>")


def _row(frame: pl.DataFrame, columns: Mapping[str, tuple[str, Format]], row: tuple[object, ...]) -> str:
    cells = []
    for i, (key, (_, written), value) in enumerate(zip(columns, columns.values(), row, strict=True)):
        told = "–" if value is None else html.escape(written(value))
        kind = "" if frame.schema[key].is_numeric() else " class=s"
        cells.append(f"<th scope=row{kind}><bdi>{told}</bdi></th>" if i == 0 else f"<td{_side(frame, key)}>{told}</td>")
    return f"<tr>{''.join(cells)}</tr>"


def _side(frame: pl.DataFrame, key: str) -> str:
    return " class=n" if frame.schema[key].is_numeric() else ""


def whole(value: object) -> str:
    """1,234"""
    return f"{int(str(value)):,}"


def decimal(value: object) -> str:
    """0.81"""
    return f"{float(str(value)):.2f}".replace("-", "−")


def fine(value: object) -> str:
    """0.812"""
    return f"{float(str(value)):.3f}".replace("-", "−")


def between(low: object, high: object) -> str:
    """[0.77, 0.84], or nothing where there is no interval."""
    return "" if low is None or high is None else f"[{decimal(low)}, {decimal(high)}]"
