"""The report as one self-contained HTML page."""

from __future__ import annotations

from pathlib import Path

from schemas.errors import NotThereYetError

Facts = dict[str, object]

def write(root: Path, out: Path, version: str | None, compare: tuple[str, str] | None) -> Facts:
    """Write the page to `out`; over all datasets, the dataset of one version, or from one version to another."""
    raise NotThereYetError("`tiebreak report --html` is not there yet", next="tiebreak report")
