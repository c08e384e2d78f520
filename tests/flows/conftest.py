"""Stages at the speed of a fast suite."""

from __future__ import annotations

import pytest


@pytest.fixture
def unpublished(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages commit but do not publish: half the time of a small stage, and nothing these tests look at."""
    monkeypatch.setattr("warehouse.store.Writer.publish", lambda self: None)


@pytest.fixture
def uncatalogued(monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing without the catalog, a file of views that takes most of its time and holds no row."""
    monkeypatch.setattr("warehouse.publish._replace_catalog", lambda workspace, manifest: None)
