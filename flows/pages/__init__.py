"""The report as one self-contained HTML page: no script, no network, light and dark, phone and paper.

    facts, audits, comparing     what is said: queries and pure functions, shared with the text report
    words                        numbers in sentences
    charts, svg                  pictures: Altair, drawn to inline SVG when the page is made
    markup, style.css            how text, tables and figures look; whatever comes from outside is text
    loop, version, habits, changes, page     sections, and the page they make
"""

from __future__ import annotations

from pathlib import Path

from schemas.errors import InputError

Facts = dict[str, object]

MOST_DATASETS = 12
"""on one page; a larger workspace is told of the others"""


def write(root: Path, out: Path, version: str | None, compare: tuple[str, str] | None) -> Facts:
    """Write the page to `out`; over all datasets, the dataset of one version, or from one version to another.

    It reads published files only, so it answers while a round runs, and replaces `out` at once. Returns the file, its
    bytes, and what the page is about. Raises InputError for an unknown version, versions of two datasets, or an `out`
    that is no file of an existing folder.
    """
    from warehouse.workspace import replace_text

    if out.is_dir() or not out.resolve().parent.is_dir():
        raise InputError(f"--html {out}", expected="a file in a folder that exists", next="name a file: report.html")
    page, about = _compared(root, *compare) if compare else _reported(root, version)
    replace_text(out, page)
    return {"page": str(out), "bytes": len(page.encode()), "about": about}


def _compared(root: Path, a: str, b: str) -> tuple[str, str]:
    from flows.pages.comparing import Comparison
    from flows.pages.facts import DatasetFacts
    from flows.pages.page import comparison_page
    from flows.reporting import two_versions
    from warehouse.reader import Reader

    dataset, n_a, n_b = two_versions(root, a, b)
    with Reader(root) as reader:
        found = Comparison(DatasetFacts(reader, dataset, n_b), n_a, n_b)
        return comparison_page(found, reader.manifest["published_at"]), " to ".join(found.names)


def _reported(root: Path, version: str | None) -> tuple[str, str]:
    from flows.commands import resolve
    from flows.pages.facts import DatasetFacts
    from flows.pages.page import whole_page
    from warehouse.reader import Reader

    dataset, n = resolve(root, version) if version else (None, None)
    with Reader(root) as reader:
        names = [dataset] if dataset else reader.query("datasets")["dataset"].to_list()
        shown = [DatasetFacts(reader, name, n) for name in names[:MOST_DATASETS]]
        page = whole_page(shown, reader.manifest["published_at"], len(names) - len(shown))
        return page, ", ".join(facts.name for facts in shown) or "an empty workspace"
