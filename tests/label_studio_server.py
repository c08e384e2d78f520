"""A real Label Studio server and a headless Chromium for tests, each started once, as fixtures of tests/conftest.py.

The first start migrates a database, which takes a minute; so a migrated folder with one administrator and three
annotators is made once per installation, under the folder for temporary files, and every session gets a copy.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = 1
"""raise it when what the migrated folder holds changes"""
SETTINGS = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "COLLECT_ANALYTICS": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
    "LATEST_VERSION_CHECK": "false",
    "SSRF_PROTECTION_ENABLED": "false",  # webhooks to loopback addresses
}
START_S = 300.0
ADMIN_TOKEN = "0123456789abcdef0123456789abcdef01234567"
PASSWORD = "a-password-of-tests"
NO_SERVER = "no Label Studio; next: make labelstudio, or TIEBREAK_LABEL_STUDIO=/path/to/bin/label-studio"
NO_BROWSER = "no Chromium with its driver; next: make browser"


@dataclass(frozen=True)
class Person:
    """Someone with an account."""

    id: int
    email: str
    password: str
    token: str
    """legacy: `Authorization: Token …`"""
    personal_token: str
    """refresh token: POST /api/token/refresh gives what goes into `Authorization: Bearer …`"""


@dataclass(frozen=True)
class LabelStudio:
    """A running server. Tests share it: each makes projects of its own."""

    url: str
    admin: Person
    people: tuple[Person, ...]
    """three annotators"""
    start_s: float
    """seconds from its start to its health"""

    def client(self, person: Person | None = None) -> httpx.Client:
        """HTTP as one of them; the administrator if none is named."""
        token = (person or self.admin).token
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Token {token}"}, timeout=60)


@pytest.fixture(scope="session")
def label_studio_program() -> Path:
    """Path of `label-studio`; skips without it, fails where TIEBREAK_REQUIRE names "labelstudio"."""
    named = os.environ.get("TIEBREAK_LABEL_STUDIO")
    program = Path(named) if named else ROOT / ".venv-labelstudio" / "bin" / "label-studio"
    return program if program.is_file() else _missing("labelstudio", f"{NO_SERVER} (looked at {program})")


@pytest.fixture(scope="session")
def label_studio(label_studio_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    """Label Studio on a copy of the migrated folder and a free port."""
    folder = tmp_path_factory.mktemp("label-studio") / "files"
    shutil.copytree(_template(label_studio_program), folder)
    admin, *people = (Person(**fields) for fields in json.loads((folder / "people.json").read_text()))
    with serving_label_studio(label_studio_program, folder) as (url, seconds):
        yield LabelStudio(url, admin, tuple(people), seconds)


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Headless Chromium, 1280 × 800, not logged in; skips without it, fails where TIEBREAK_REQUIRE has "browser"."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    if not found or not driver:  # both by path: selenium would look for a download otherwise
        _missing("browser", NO_BROWSER)
    options = webdriver.ChromeOptions()
    options.binary_location = str(found)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en"):
        options.add_argument(argument)
    with webdriver.Chrome(options=options, service=Service(driver)) as chromium:
        resize(chromium, 1280, 800)
        yield chromium


def resize(browser: webdriver.Chrome, width: int, height: int) -> None:
    """Give the page, not the window, this size in CSS pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@contextlib.contextmanager
def serving_label_studio(program: Path, folder: Path, port: int | None = None) -> Iterator[tuple[str, float]]:
    """(address, seconds until healthy) of a server over `folder`; nothing of it is left running."""
    port = port or _free_port()
    log = folder.with_suffix(".log")
    options = ("--no-browser", "--data-dir", str(folder), "--port", str(port), "--internal-host", "127.0.0.1")
    account = {"LABEL_STUDIO_USERNAME": "admin@example.org", "LABEL_STUDIO_PASSWORD": PASSWORD,
               "LABEL_STUDIO_USER_TOKEN": ADMIN_TOKEN, "LABEL_STUDIO_BASE_DATA_DIR": str(folder)}
    with log.open("wb") as written, subprocess.Popen(
        [str(program), "start", *options], env=os.environ | SETTINGS | account, stdin=subprocess.DEVNULL,
        stdout=written, stderr=subprocess.STDOUT, start_new_session=True,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            yield url, _wait_for_health(process, url, log)
        finally:
            _stop(process)


def _template(program: Path) -> Path:
    """The migrated folder of this installation, made by whoever needs it first."""
    stamp = f"{program.resolve()} {program.stat().st_mtime_ns} {TEMPLATE}"
    name = f"tiebreak-label-studio-{os.getuid()}-{hashlib.sha256(stamp.encode()).hexdigest()[:12]}"
    made = Path(tempfile.gettempdir()) / name
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.is_dir():
            half = Path(tempfile.mkdtemp(prefix=f"{name}-")) / "files"
            half.mkdir()
            with serving_label_studio(program, half) as (url, _):
                (half / "people.json").write_text(json.dumps([asdict(person) for person in _accounts(url)]))
            half.rename(made)
            shutil.rmtree(half.parent)
    return made


def _accounts(url: str) -> Iterator[Person]:
    """The administrator, who allows both kinds of token, and three annotators who sign up."""
    with _logged_in(url, "/user/login/", "admin@example.org") as client:
        allowed = {"api_tokens_enabled": True, "legacy_api_tokens_enabled": True, "api_token_ttl_days": 365}
        _csrf(client).post("/api/jwt/settings", json=allowed).raise_for_status()
        yield _person(client, "admin@example.org")
    for name in ("ann", "ben", "cem"):
        email = f"{name}@example.org"
        with _logged_in(url, "/user/signup/", email) as client:
            yield _person(client, email)


@contextlib.contextmanager
def _logged_in(url: str, page: str, email: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, follow_redirects=True) as client:
        _submit(client, page, email)
        yield client


def _submit(client: httpx.Client, page: str, email: str) -> None:
    form = client.get(page).text
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
    assert token is not None, form[:500]
    account = {"email": email, "password": PASSWORD, "csrfmiddlewaretoken": token[1], "allow_newsletters": "false"}
    client.post(page, data=account, headers={"Referer": f"{client.base_url}"}).raise_for_status()


def _csrf(client: httpx.Client) -> httpx.Client:
    client.headers.update({"X-CSRFToken": client.cookies["csrftoken"], "Referer": str(client.base_url)})
    return client


def _person(client: httpx.Client, email: str) -> Person:
    who = client.get("/api/current-user/whoami").raise_for_status().json()["id"]
    legacy = client.get("/api/current-user/token").raise_for_status().json()["token"]
    personal = _csrf(client).post("/api/token/", json={}).raise_for_status().json()["token"]
    return Person(who, email, PASSWORD, legacy, personal)


def _missing(need: str, line: str) -> NoReturn:
    if need in os.environ.get("TIEBREAK_REQUIRE", ""):
        pytest.fail(line)
    pytest.skip(line)


def _wait_for_health(process: subprocess.Popen[bytes], url: str, log: Path) -> float:
    started = time.monotonic()
    while time.monotonic() - started < START_S:
        assert process.poll() is None, f"label-studio ended with {process.returncode}:\n{_tail(log)}"
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return time.monotonic() - started
        time.sleep(0.25)
    raise AssertionError(f"label-studio was not healthy after {START_S:.0f} s:\n{_tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the whole group, SIGKILL to what is left after 5 s."""
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 10)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=patience)


def _tail(log: Path, lines: int = 30) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
