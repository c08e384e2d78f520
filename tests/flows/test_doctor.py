"""Doctor: each fault is found and comes with the command that mends it."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from bench._scripted import ScriptedServer
from flows import doctor
from flows.doctor import PINS, examine
from warehouse.lock import writer_lock
from warehouse.store import Store

PROJECT = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text())["project"]


def row(check: str, root: Path) -> dict[str, object]:
    return {str(r["check"]): r for r in examine(root)}[check]


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, seen: str | None) -> None:
    """As if version `seen` of a package were installed; None: not installed."""
    real = doctor.version

    def version(asked: str) -> str:
        if asked == name and seen is None:
            raise PackageNotFoundError(name)
        return seen if asked == name and seen else real(asked)

    monkeypatch.setattr(doctor, "version", version)


def test_the_environment_of_these_tests_has_no_fault(store: Store) -> None:
    rows = examine(store.workspace.root)
    assert [r for r in rows if r["state"] == "fault"] == []
    assert {"python", "workspace", "disk", "writer.lock", "prefect server", *PINS} <= {r["check"] for r in rows}


def test_what_is_well_needs_no_mending_and_what_is_not_says_how(store: Store) -> None:
    assert [r for r in examine(store.workspace.root) if (r["state"] == "ok") == bool(r["mend"])] == []


@pytest.mark.parametrize(("name", "seen"), [
    ("fastapi", "0.160.0"), ("sqlalchemy", "2.1.0"), ("prefect", "3.9.0"), ("duckdb", "1.5.0"), ("polars", "1.36.1"),
])
def test_a_version_that_was_seen_to_break_is_a_fault(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, seen: str
) -> None:
    pretend(monkeypatch, name, seen)
    found = row(name, tmp_path)
    assert (found["state"], found["seen"]) == ("fault", seen)
    assert str(found["mend"]).startswith(f"pip install '{name}>=")


def test_a_package_that_is_absent_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, "duckdb", None)
    assert row("duckdb", tmp_path)["state"] == "fault"


def test_every_pin_of_doctor_is_a_dependency_and_allows_what_the_project_asks_for() -> None:
    asked = {re.split(r"[^a-z-]", d)[0]: d for d in PROJECT["dependencies"]}
    lowest = {name: re.search(r"[=>]=([0-9.]+)", asked[name]) for name in PINS}
    assert {name: hit.group(1) for name, hit in lowest.items() if hit} == {name: low for name, (low, _) in PINS.items()}


def test_more_than_one_thread_is_noted_because_sums_would_differ(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    found = row("BLAS threads", tmp_path)
    assert (found["state"], found["seen"]) == ("note", "4")


def test_no_workspace_is_noted_with_the_command_that_makes_one(tmp_path: Path) -> None:
    found = row("workspace", tmp_path)
    assert found["state"] == "note"
    assert found["mend"] == f"tiebreak --workspace {tmp_path} init"


def test_a_held_lock_is_noted_with_its_holder(store: Store) -> None:
    with writer_lock(store.workspace.lock, "a long import"):
        found = row("writer.lock", store.workspace.root)
    assert found["state"] == "note"
    assert "a long import" in str(found["seen"])
    assert row("writer.lock", store.workspace.root)["state"] == "ok"


@pytest.mark.parametrize("marker", ["", "not json", '{"format": 99}'])
def test_a_workspace_that_every_command_would_refuse_is_a_fault(store: Store, marker: str) -> None:
    (store.workspace.root / "workspace.json").write_text(marker)
    assert row("workspace", store.workspace.root)["state"] == "fault"


def test_a_full_disk_is_a_fault(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    monkeypatch.setattr(doctor, "LEAST_FREE_GIB", 1e9)
    assert row("disk", store.workspace.root)["state"] == "fault"


@pytest.mark.service
@pytest.mark.parametrize(("model", "key", "script", "state", "seen"), [
    ("m", "", {}, "ok", "serves m"), ("other", "", {}, "fault", "serves ['m']"),
    ("m", "PLANTED", {"key": "sk-right"}, "fault", "401: the key is refused"),
    ("m", "NOWHERE", {}, "fault", "no secret 'NOWHERE'"),
])
def test_each_endpoint_is_looked_at(
    store: Store, monkeypatch: pytest.MonkeyPatch, model: str, key: str, script: dict[str, str], state: str, seen: str
) -> None:
    monkeypatch.setenv("PLANTED", "sk-wrong")
    with ScriptedServer(**script) as server:
        store.workspace.settings.write_text(f'[[endpoints]]\nmodel = "{model}"\nurl = "{server.url}"\nkey = "{key}"\n')
        found = row(f"endpoint 127.0.0.1:{server.port}", store.workspace.root)
    assert (found["state"], found["seen"]) == (state, seen)
    assert bool(found["mend"]) == (state == "fault")
    assert "sk-" not in str(found)


def test_an_endpoint_that_is_down_says_what_to_do(store: Store) -> None:
    store.workspace.settings.write_text('[[endpoints]]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    assert row("endpoint 127.0.0.1:9", store.workspace.root)["mend"] == "start the server, or mend url in settings.toml"
