"""Doctor on servers and what settings say of them: each fault is found, no secret shown, nobody waited for long."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from threading import Thread
from typing import Any

import pytest
from pretended_label_studio import Pretended, Reply

from bench._scripted import ScriptedServer
from flows import doctor_servers
from flows.doctor import examine
from flows.server import worker_note
from schemas.settings import LabelStudio
from warehouse.store import Store

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TOKEN = "0123456789abcdef0123456789abcdef01234567"
PSEUDONYM_KEY = "k" * 32


def looks(store: Store) -> dict[str, dict[str, object]]:
    return {str(r["check"]): r for r in examine(store.workspace.root)}


def fault(store: Store, check: str) -> tuple[object, object]:
    found = looks(store)[check]
    return found["state"], found["seen"]


@contextmanager
def server(say: Callable[[str], tuple[int, Any]]) -> Iterator[str]:
    """A server that answers every request with what `say(path)` says; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            status, body = say(self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


@pytest.fixture
def platform(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pretended]:
    """A pretended Label Studio that takes one token, named by the settings; both secrets are there."""
    pretended = Pretended()
    pretended.date = formatdate(usegmt=True)
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", TOKEN)
    monkeypatch.setenv("TIEBREAK_PSEUDONYM_KEY", PSEUDONYM_KEY)

    def health_and_token(method: str, path: str) -> Reply | None:
        if path == "/health":
            return 200, {"status": "UP"}
        return None if pretended.asked[-1][2] == f"Token {TOKEN}" else (401, {"detail": f"Invalid token {TOKEN}."})

    pretended.faults.append(health_and_token)
    with pretended.serving() as url:
        store.workspace.settings.write_text(f'[label_studio]\nurl = "{url}"\n')
        yield pretended


def label_studio_row(store: Store) -> dict[str, object]:
    (found,) = (r for name, r in looks(store).items() if name.startswith("Label Studio 127"))
    return found


@pytest.mark.slow
def test_a_label_studio_that_takes_the_token_is_well(store: Store, platform: Pretended) -> None:
    platform.projects = {1: {"id": 1}, 2: {"id": 2}}
    found = label_studio_row(store)
    assert (found["state"], found["seen"]) == ("ok", "takes the token, 2 projects")
    assert looks(store)["clock"]["state"] == "ok"


@pytest.mark.slow
def test_a_wrong_token_is_a_fault_and_is_shown_nowhere(
    store: Store, platform: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = TOKEN.replace("0", "9")
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", wrong)
    found = label_studio_row(store)
    assert found["state"] == "fault"
    assert "401" in str(found["seen"])
    assert str(found["mend"]).startswith("make a new one in Label Studio (Account & Settings)")
    assert wrong not in json.dumps(examine(store.workspace.root))


@pytest.mark.slow
def test_an_expired_personal_token_is_a_fault(
    store: Store, platform: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", "e30.eyJleHAiOiAxfQ.sig")  # {"exp": 1}
    platform.faults.insert(0, lambda method, path: (401, {"detail": "expired"}) if "refresh" in path else None)
    found = label_studio_row(store)
    assert (found["state"], "401" in str(found["seen"])) == ("fault", True)
    assert "eyJleHAi" not in json.dumps(examine(store.workspace.root))


def test_a_label_studio_that_is_down_is_a_fault(
    store: Store, platform: Pretended, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        store.workspace.settings.write_text(f'[label_studio]\nurl = "http://127.0.0.1:{free.getsockname()[1]}"\n')
        found = label_studio_row(store)
    assert (found["state"], found["seen"]) == ("fault", "no answer (ConnectionRefusedError)")
    assert str(found["mend"]).startswith("make serve-labelstudio")


@pytest.mark.slow
def test_something_else_at_that_address_is_a_fault(store: Store, platform: Pretended) -> None:
    with server(lambda path: (200, ["another", "service"])) as url:
        store.workspace.settings.write_text(f'[label_studio]\nurl = "{url}"\n')
        assert label_studio_row(store)["seen"] == "answers, and is no Label Studio"


@pytest.mark.slow
def test_a_server_that_hangs_is_waited_for_a_few_seconds_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_servers, "ASK_S", 0.2)
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        found = doctor_servers.label_studio(LabelStudio(url=f"http://127.0.0.1:{silent.getsockname()[1]}"))
        reply = doctor_servers.ask(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert found["state"] == "fault"
    assert (reply.status, reply.fault) == (0, "TimeoutError")
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_clock_that_is_off_is_noted_with_how_far(store: Store, platform: Pretended) -> None:
    platform.date = formatdate(time.time() + 3600, usegmt=True)
    found = looks(store)["clock"]
    assert found["state"] == "note"
    assert str(found["seen"]).endswith(" s ahead")
    assert 3590 < int(str(found["seen"]).split(" is ")[1].split(" ")[0]) < 3610


@pytest.mark.slow
@pytest.mark.parametrize(("name", "value", "seen"), [
    ("LABEL_STUDIO_TOKEN", None, "no secret 'LABEL_STUDIO_TOKEN'"),
    ("TIEBREAK_PSEUDONYM_KEY", None, "no secret 'TIEBREAK_PSEUDONYM_KEY'"),
    ("TIEBREAK_PSEUDONYM_KEY", "short", "in the environment, 5 bytes; 16 or more are needed"),
])
def test_each_secret_is_looked_for_by_its_name(
    store: Store, platform: Pretended, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, seen: str
) -> None:
    assert fault(store, f"secret {name}") == ("ok", "in the environment")
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    assert fault(store, f"secret {name}") == ("fault", seen)


@pytest.mark.slow
def test_a_secrets_file_that_others_can_read_is_a_fault_that_chmod_mends(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    held = tmp_path / "secrets.toml"
    held.write_text('K = "planted"\n')
    held.chmod(0o644)
    monkeypatch.setenv("TIEBREAK_SECRETS", str(held))
    found = looks(store)["TIEBREAK_SECRETS"]
    assert (found["state"], found["mend"]) == ("fault", f"chmod 600 {held}")
    held.chmod(0o600)
    assert looks(store)["TIEBREAK_SECRETS"]["state"] == "ok"
    held.unlink()
    assert looks(store)["TIEBREAK_SECRETS"]["state"] == "fault"
    assert "planted" not in json.dumps(list(looks(store).values()))


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
    with ScriptedServer(**script) as served:
        store.workspace.settings.write_text(f'[[endpoints]]\nmodel = "{model}"\nurl = "{served.url}"\nkey = "{key}"\n')
        found = looks(store)[f"endpoint 127.0.0.1:{served.port}"]
    assert (found["state"], found["seen"]) == (state, seen)
    assert bool(found["mend"]) == (state == "fault")
    assert "sk-" not in str(found)


@pytest.mark.slow
def test_an_endpoint_that_is_down_says_what_to_do(store: Store) -> None:
    store.workspace.settings.write_text('[[endpoints]]\nmodel = "m"\nurl = "http://127.0.0.1:9/v1"\n')
    found = looks(store)["endpoint 127.0.0.1:9"]
    assert found["mend"] == "start the server, or mend url in settings.toml"


@pytest.mark.slow
def test_a_model_of_the_recipe_that_nobody_serves_is_a_fault_and_a_misspelt_one_is_noted(store: Store) -> None:
    shutil.copy(EXAMPLES / "synthesize.toml", store.workspace.recipe)
    right, wrong = "Qwen/Qwen2.5-7B-Instruct", "mistralai/Mistral-7B-Instruct"
    store.workspace.settings.write_text(
        f'in_process = ["Skywork/Skywork-Reward-V2-Qwen3-1.7B=./rm"]\n[[endpoints]]\nmodel = "{right}"\n'
        f'url = "http://127.0.0.1:9/v1"\n[[prices]]\nmodel = "{wrong}"\n'
    )
    found = looks(store)
    assert {name for name in found if name.startswith("model ")} == {"model mistralai/Mistral-7B-Instruct-v0.3"}
    assert found["model mistralai/Mistral-7B-Instruct-v0.3"]["state"] == "fault"
    assert (found["settings"]["state"], found["settings"]["seen"]) == ("note", f"{wrong}: no model of the recipe")


@pytest.mark.slow
def test_the_example_settings_serve_the_example_recipe(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(EXAMPLES / "synthesize.toml", store.workspace.recipe)
    monkeypatch.setattr(doctor_servers, "ASK_S", 0.2)
    text = (EXAMPLES / "settings.toml").read_text().replace("https://provider.example", "http://127.0.0.1:9")
    store.workspace.settings.write_text(text)
    assert {name for name in looks(store) if name.startswith("model ") or name == "settings"} == set()


@pytest.mark.parametrize(("settings", "seen"), [
    ("", "the recipe asks people there, settings name no server"),
    ('[label_studio]\nurl = "http://127.0.0.1:9"\n', "escalation to experts, and no queue for them"),
])
def test_a_recipe_for_people_needs_a_platform_and_its_queues(store: Store, settings: str, seen: str) -> None:
    shutil.copy(EXAMPLES / "people.toml", store.workspace.recipe)
    store.workspace.settings.write_text(settings)
    assert fault(store, "Label Studio") == ("fault", seen)


def test_settings_that_cannot_be_read_are_one_fault_and_quote_no_value(store: Store) -> None:
    store.workspace.settings.write_text('[[endpoints]]\nmodel = "m"\nurl = "http://h/v1"\nkey = "sk-planted"\n')
    found = looks(store)["settings"]
    assert (found["state"], "endpoints.0.key" in str(found["seen"])) == ("fault", True)
    assert "sk-planted" not in str(found)


@pytest.mark.slow
def test_a_prefect_server_that_never_ran_and_one_that_died_are_told_apart(store: Store) -> None:
    assert fault(store, "prefect server") == ("note", "not running")
    store.workspace.server.mkdir()
    (store.workspace.server / "server.json").write_text('{"pid": 99999999, "port": 9}\n')
    told = "not running; the last one was pid 99999999, and its port 9 is kept"
    assert fault(store, "prefect server") == ("note", told)
    assert looks(store)["prefect server"]["mend"] == f"tiebreak --workspace {store.workspace.root} serve"


@pytest.mark.slow
def test_a_worker_that_died_is_noted_and_one_that_was_never_started_is_not(store: Store) -> None:
    assert "worker" not in looks(store)
    store.workspace.server.mkdir()
    note = {"pid": 99999999, "pool": "tiebreak", "api_url": "http://127.0.0.1:9/api"}
    worker_note(store.workspace).write_text(json.dumps(note))
    found = looks(store)["worker"]
    assert (found["state"], found["mend"]) == ("note", f"tiebreak --workspace {store.workspace.root} serve")


@pytest.mark.service
def test_a_worker_that_runs_is_well(store: Store) -> None:
    program = "import time\ntime.sleep(60)"
    command = [sys.executable, "-c", program, "prefect", "worker", "tiebreak"]
    store.workspace.server.mkdir()
    with subprocess.Popen(command) as child:
        note = {"pid": child.pid, "pool": "tiebreak", "api_url": "http://127.0.0.1:9/api"}
        worker_note(store.workspace).write_text(json.dumps(note))
        found = looks(store)["worker"]
        child.kill()
    assert (found["state"], found["seen"]) == ("ok", f"pid {child.pid}, pool tiebreak")


@pytest.mark.slow
def test_a_server_of_one_s_own_that_does_not_answer_is_a_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://user:planted@127.0.0.1:9/api")
    assert fault(store, "prefect server") == ("fault", "127.0.0.1:9 does not answer (PREFECT_API_URL)")
    assert "planted" not in json.dumps(list(looks(store).values()))


@pytest.mark.slow
@pytest.mark.parametrize(("status", "state", "seen"), [
    ("ONLINE", "ok", "worker-1"), ("OFFLINE", "fault", "none; deployments that wait for one: 2"),
])
def test_a_pool_with_deployments_needs_a_worker(
    store: Store, monkeypatch: pytest.MonkeyPatch, status: str, state: str, seen: str
) -> None:
    def say(path: str) -> tuple[int, Any]:
        if path.endswith("/deployments/filter"):
            return 200, [{"work_pool_name": "gpu"}, {"work_pool_name": "gpu"}, {"work_pool_name": None}]
        return 200, [{"name": "worker-1", "status": status}] if path.endswith("/pools/gpu/workers/filter") else True

    store.workspace.settings.write_text('[training]\npool = "gpu"\n')
    with server(lambda path: say(path.replace("work_pools", "pools"))) as url:
        monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
        found = looks(store)["worker of pool gpu"]
    assert (found["state"], found["seen"]) == (state, seen)
    serve = f"tiebreak --workspace {store.workspace.root} serve"
    assert found["mend"] == ("" if state == "ok" else f"{serve} --pool gpu, on the machine that trains")
    assert os.environ["PREFECT_API_URL"] == f"{url}/api"
