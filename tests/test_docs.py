"""What the documentation says can be done: its commands parse, its targets and links exist.

That its pages run from end to end is in test_docs_run.py.
"""

from __future__ import annotations

import re
import shlex
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
        yield bool(RUN_MARK.search(text[: match.start()])), [command for command, _ in commands_of(match["body"])]


def commands_of(body: str) -> list[tuple[str, list[str]]]:
    """Commands of a console block, each with the lines it printed. One goes on while a quotation is open."""
    found: list[tuple[str, list[str]]] = []
    for line in body.replace("\\\n", " ").splitlines():
        if found and is_open(found[-1][0]):
            found[-1] = f"{found[-1][0]}\n{line}", []
        elif line.strip().startswith("$ "):
            found.append((line.strip()[2:], []))
        elif found:
            found[-1][1].append(line)
    return found


def is_open(command: str) -> bool:
    """Whether a quotation was begun and not ended."""
    try:
        shlex.split(command)
    except ValueError:
        return True
    return False


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
