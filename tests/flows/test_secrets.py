"""A key in the environment reaches no byte of a workspace and no line of output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from small_rounds import simulated_recipe

from schemas.tables import TABLES
from warehouse.reader import Reader

pytestmark = pytest.mark.service

KEY, TOKEN = "sk-planted-8f1Zq0Lw7RmT", "hf_plantedK2vB9sXn4Yd"
PLATFORM_TOKEN, PSEUDONYM_KEY = "plantedf3c1d7b2a9e0857461", "planted-people-Qx7Lm2Vt9Rb4"
ENVIRONMENT = {"OPENAI_API_KEY": KEY, "HF_TOKEN": TOKEN, "LABEL_STUDIO_API_KEY": f"{KEY}-ls",
               "AWS_SECRET_ACCESS_KEY": f"{TOKEN}-aws", "LABEL_STUDIO_TOKEN": PLATFORM_TOKEN,
               "TIEBREAK_PSEUDONYM_KEY": PSEUDONYM_KEY}
SECRETS = [KEY, TOKEN, PLATFORM_TOKEN, PSEUDONYM_KEY]
NOBODY_THERE = '[label_studio]\nurl = "http://127.0.0.1:1"\n'


@dataclass(frozen=True)
class Ran:
    """A workspace in which a round was run, and everything that was printed on the way."""

    root: Path
    printed: bytes


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """init, a direct round, every way to look at it, and a run that fails, with keys in environment and file."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "secrets.toml").write_text(f'openai = "{KEY}"\nhub = "{TOKEN}"\n')
    (folder / "recipe.toml").write_text(simulated_recipe().canonical())
    people = simulated_recipe(dataset="people", people={"engine": "label_studio", "cost_usd": 0.25})
    (folder / "people.toml").write_text(people.canonical())
    (folder / "settings.toml").write_text(NOBODY_THERE)
    (folder / "notes.jsonl").write_text('{"prompt": "p", "response_a": "x", "response_b": "y"}\n')
    environment = os.environ | ENVIRONMENT | {"TIEBREAK_SECRETS": str(folder / "secrets.toml"),
                                              "TIEBREAK_WORKSPACE": str(folder / "ws"),
                                              "TIEBREAK_SETTINGS": str(folder / "settings.toml")}
    commands = (
        ["init", "--recipe", str(folder / "recipe.toml")], ["ingest", str(folder / "notes.jsonl")], ["run", "--direct"],
        ["doctor"], ["export", "small@1", "--out", str(folder / "ws" / "out")],
        ["ingest", "hf:nobody/nothing"],
        ["run", "--direct", str(folder / "people.toml")], ["send", "--recipe", str(folder / "people.toml")],
        ["collect", "--recipe", str(folder / "people.toml")], ["annotators", "--pay"], ["report"],
        ["sql", "SELECT getenv('OPENAI_API_KEY')"],
    )
    printed = b""
    for command in commands:
        done = subprocess.run([sys.executable, "-m", "flows.cli", *command], env=environment | {"HF_HUB_OFFLINE": "1"},
                              capture_output=True, check=False)
        printed += done.stdout + done.stderr
    return Ran(folder / "ws", printed)


def stored_bytes(root: Path) -> Iterator[tuple[str, bytes]]:
    """Every file as it lies there, and, because Parquet is compressed, every value of every table as text."""
    for path in sorted(root.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(root)), path.read_bytes()
    with Reader(root) as reader:
        for table in TABLES:
            yield table, reader.sql(f"FROM {table}").write_ndjson().encode()


@pytest.mark.parametrize("secret", SECRETS)
def test_no_byte_of_the_workspace_holds_a_key(ran: Ran, secret: str) -> None:
    assert [name for name, content in stored_bytes(ran.root) if secret.encode() in content] == []


@pytest.mark.parametrize("secret", SECRETS)
def test_nothing_that_is_printed_holds_a_key(ran: Ran, secret: str) -> None:
    assert b"round 1: gate: 1 rows" in ran.printed
    assert b"nobody takes connections there" in ran.printed
    assert secret.encode() not in ran.printed


def test_the_search_finds_what_is_there(ran: Ran) -> None:
    with Reader(ran.root) as reader:
        text = reader.sql("SELECT text_a FROM preferences LIMIT 1").item()
    assert [name for name, content in stored_bytes(ran.root) if text[:40].encode() in content]
    assert any(b'"dataset":"small"' in content for name, content in stored_bytes(ran.root) if name == "recipe.toml")
