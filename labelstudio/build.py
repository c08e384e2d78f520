"""Builds the environment that runs Label Studio, in a folder of its own: `make labelstudio`.

Label Studio, Prefect and vLLM exclude each other's pins, so each has an environment of its own. Tests start the
server from here, and `labelstudio/run.py` starts it for people; your own server, anywhere, does as well. Only the
standard library is imported: any Python 3.11+ runs this.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import time
import venv
from pathlib import Path

HERE = Path(__file__).parent
CONSTRAINTS = HERE / "constraints.txt"
VERSION = "1.23.2"
LABEL_STUDIO = f"label-studio=={VERSION}"


class BuildError(Exception):
    """A step that failed, with what it wrote."""


def main(folder: Path) -> int:
    """Build the environment unless it is there as this recipe wants it. Returns the exit code."""
    ready = folder / ".ready"
    if ready.is_file() and ready.read_text() == fingerprint():
        return 0
    started = time.monotonic()
    _say(f"labelstudio: Label Studio {VERSION} into {folder}, 1 GB, about 2 minutes; pip writes {_log(folder)}")
    try:
        build(folder)
    except (BuildError, OSError) as error:
        return _say(f"labelstudio failed at: {error}\nall of it: {_log(folder)}; next: mend that, make labelstudio", 1)
    ready.write_text(fingerprint())
    return _say(f"labelstudio: done in {time.monotonic() - started:.0f} s", 0)


def build(folder: Path) -> None:
    """Every step in order; one that was done before is quick. Raises BuildError."""
    if not (folder / "bin" / "python").is_file():
        venv.create(folder, clear=True, with_pip=True)
    _log(folder).write_text("")
    _run(folder, "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-c", str(CONSTRAINTS),
         LABEL_STUDIO)
    _run(folder, "-c", f"from importlib.metadata import version; assert version('label-studio') == '{VERSION}'")


def fingerprint() -> str:
    """What the environment is made of: another recipe builds it anew."""
    return hashlib.sha256(Path(__file__).read_bytes() + CONSTRAINTS.read_bytes()).hexdigest()


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
    sys.exit(main(Path(sys.argv[1])))
