"""Starts a Label Studio server on this machine, for people: `make serve-labelstudio`.

It listens on the loopback address only and keeps everything in a folder of your home, which only you can read, with
the administrator's account in `account.json`. Ctrl-C stops it; nothing is lost, the next start continues. Only the
standard library is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

HOST = "127.0.0.1"
SETTINGS = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "SSRF_PROTECTION_ENABLED": "false",  # its webhooks wake a `collect` that listens on this machine
}
START_S = 600.0
HOME = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "tiebreak" / "labelstudio"
WELCOME = """\
Label Studio: {url}  (Ctrl-C stops it)
account and token: {account}
next, in settings.toml:
  [label_studio]
  url = "{url}"
and LABEL_STUDIO_TOKEN, the "token" of that file, in the environment or in the file that TIEBREAK_SECRETS names"""


def main(arguments: list[str]) -> int:
    """Serve until Ctrl-C or SIGTERM. Returns the exit code."""
    asked = _parser().parse_args(arguments)
    folder, program = asked.folder.resolve(), Path(sys.executable).with_name("label-studio")
    if not program.is_file():
        return _refuse(f"no label-studio beside {sys.executable}; expected its environment; next: make labelstudio")
    if not _is_free(asked.port):
        return _refuse(f"port {asked.port} is taken; expected a free one; next: ARGS='--port {asked.port + 1}'")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    account = account_of(folder)
    options = ("--no-browser", "--data-dir", str(folder), "--port", str(asked.port), "--internal-host", HOST)
    log = folder / "server.log"
    with log.open("ab") as written, subprocess.Popen(
        [str(program), "start", *options], env=os.environ | SETTINGS | environment(account, folder),
        stdin=subprocess.DEVNULL, stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
    ) as server:
        return _attend(server, f"http://{HOST}:{asked.port}", folder)


def account_of(folder: Path) -> dict[str, str]:
    """The administrator's username, password and token, made up on the first start."""
    path = folder / "account.json"
    if not path.is_file():
        made = {"username": "admin@localhost.localdomain", "password": secrets.token_urlsafe(16),
                "token": secrets.token_hex(20)}
        # The mode is there before the first byte is.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(made, file, indent=2)
    known: dict[str, str] = json.loads(path.read_text())
    return known


def environment(account: dict[str, str], folder: Path) -> dict[str, str]:
    """What tells the server its account and folder: an argument would show them to everyone on this machine."""
    return {
        "LABEL_STUDIO_USERNAME": account["username"], "LABEL_STUDIO_PASSWORD": account["password"],
        "LABEL_STUDIO_USER_TOKEN": account["token"], "LABEL_STUDIO_BASE_DATA_DIR": str(folder),
    }


def _attend(server: subprocess.Popen[bytes], url: str, folder: Path) -> int:
    """Wait until it is up, say where, and stop it with us."""
    signal.signal(signal.SIGTERM, _interrupt)
    print(f"starting; the first time takes about a minute; it writes {folder / 'server.log'}", flush=True)
    try:
        _wait_for_health(server, url)
        if server.poll() is None:
            print(WELCOME.format(url=url, account=folder / "account.json"), flush=True)
        server.wait()
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
        return 0
    finally:
        stop(server)
    return _refuse(f"label-studio ended with {server.returncode}; next: read the end of {folder / 'server.log'}", 1)


def stop(server: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left after 10 s."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(server.pid, number)
            server.wait(timeout=10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


def _wait_for_health(server: subprocess.Popen[bytes], url: str) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    started = time.monotonic()
    while server.poll() is None and time.monotonic() - started < START_S:
        try:
            with direct.open(f"{url}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _refuse(line: str, code: int = 2) -> int:
    print(line, file=sys.stderr, flush=True)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A Label Studio server on this machine, until Ctrl-C.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--folder", type=Path, default=HOME, help="its database, files and account")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
