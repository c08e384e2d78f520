"""What the documentation says can be done: its commands parse, its targets and links exist, its tour runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    p for p in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")) if p.is_file()
)
CONSOLE = re.compile(r"^(?P<indent> *)```console\n(?P<body>.*?)^ *```", re.M | re.S)
RUN_MARK = re.compile(r"<!-- run -->\s*\Z")
FENCE = re.compile(r"^ *```.*?^ *```", re.M | re.S)
LINK = re.compile(r"!?\[[^\]]*\]\(<?(?P<target>[^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")


def blocks(page: Path) -> Iterator[tuple[bool, list[str]]]:
    """Each console block of a page: is it marked to be run, and its commands."""
    text = page.read_text()
    for match in CONSOLE.finditer(text):
        body = match["body"].replace("\\\n", " ")
        commands = [line.strip()[2:] for line in body.splitlines() if line.strip().startswith("$ ")]
        yield bool(RUN_MARK.search(text[: match.start()])), commands


def simple_commands(line: str) -> list[list[str]]:
    """A shell line cut at pipes, `&&`, `;` and redirections, each part in words, assignments left out."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            parts.append([])
        elif parts[-1] or not re.match(r"[A-Z_]+=", word):
            parts[-1].append(word)
    return [p for p in parts if p]


def said(program: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every use of a program in the documentation: page, words after the program."""
    return [
        (page.name, tuple(words[1:]))
        for page in PAGES for _, lines in blocks(page) for line in lines for words in simple_commands(line)
        if Path(words[0]).name == program
    ]


@cache
def command_line() -> Any:
    """The typer app of flows/cli.py as a parse tree."""
    import typer

    from flows import cli

    apps = [v for v in vars(cli).values() if isinstance(v, typer.Typer)]
    return typer.main.get_command(apps[0])


def parse(command: Any, name: str, args: list[str], parent: Any = None) -> None:
    """Parse as the command line would, without running or touching a file; raises on what it does not know."""
    context = command.context_class(command, info_name=name, parent=parent, **command.context_settings)
    given, rest, _ = command.make_parser(context).parse_args(args)
    if hasattr(command, "resolve_command"):
        if rest:
            below, inner, inner_args = command.resolve_command(context, rest)
            parse(inner, below, inner_args, context)
        return
    if given.get("help"):
        return
    lacking = [p.name for p in command.params if p.required and not isinstance(given.get(p.name), str | list | tuple)]
    surplus = [] if context.allow_extra_args else rest
    if lacking or surplus:
        raise LookupError(f"{context.command_path}: lacks {lacking}, does not take {surplus}")
    for parameter in command.params:
        allowed = [getattr(c, "value", c) for c in parameter.type_descriptor.choices or ()]
        value = given.get(parameter.name)
        if allowed and isinstance(value, str) and value not in allowed:
            raise LookupError(f"{context.command_path}: no such {parameter.name} {value!r}, only {allowed}")


@pytest.mark.parametrize(("page", "words"), sorted(set(said("tiebreak"))))
def test_every_documented_command_is_one(page: str, words: tuple[str, ...]) -> None:
    parse(command_line(), "tiebreak", list(words))


@pytest.mark.parametrize(
    "line", ["frobnicate", "ingest --no-such-option x", "diff only-one", "versions one two three four five"]
)
def test_a_command_that_does_not_exist_would_be_noticed(line: str) -> None:
    with pytest.raises(Exception, match=r"(?i)no such|unexpected|lacks|missing"):
        parse(command_line(), "tiebreak", line.split())


@pytest.mark.parametrize(("page", "words"), sorted(set(said("make"))))
def test_every_documented_make_target_exists(page: str, words: tuple[str, ...]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    assert {w for w in words if "=" not in w and not w.startswith("-")} <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    targets = [m["target"] for m in LINK.finditer(FENCE.sub("", page.read_text()))]
    local = [t.split("#")[0] for t in targets if not re.match(r"[a-z][a-z+.-]*:|#", t)]
    assert [t for t in local if not (page.parent / t).exists()] == []


@pytest.fixture
def checkout(tmp_path: Path, real_data: Path) -> Path:
    """A folder that looks like this checkout with shared/data beside it, and takes what a tour writes."""
    here = tmp_path / "main"
    here.mkdir()
    for entry in (e for e in ROOT.iterdir() if e.name not in {".git", ".tiebreak"}):
        (here / entry.name).symlink_to(entry)
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "data").symlink_to(real_data)
    return here


@pytest.mark.service
def test_the_readme_tour_runs_from_end_to_end(checkout: Path) -> None:
    tour = [line for is_run, lines in blocks(ROOT / "README.md") if is_run for line in lines]
    assert tour, "README.md marks no console block with <!-- run -->"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = os.environ | {"TIEBREAK_WORKSPACE": str(checkout / ".tiebreak"), "PATH": path}
    try:
        for line in tour:
            done = subprocess.run(["bash", "-c", line], cwd=checkout, env=env, capture_output=True, text=True)
            assert done.returncode == 0, f"$ {line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    finally:
        subprocess.run(["tiebreak", "serve", "--stop"], cwd=checkout, env=env, capture_output=True)
