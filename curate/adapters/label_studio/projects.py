"""One project per dataset and queue, found again by a mark in its description, kept as the page wants it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from curate.adapters.label_studio.client import Server
from curate.adapters.label_studio.pulling import pull
from curate.annotating.page import project_options
from curate.annotating.results import read_results
from curate.engines import Page
from schemas.errors import PlatformError
from schemas.ids import content_id

LONGEST_TITLE = 50
_CONFIG = re.compile(r"page:([0-9a-f]{16})")


def prepare(server: Server, system: str, page: Page) -> str:
    """Id of the queue's project: found, made, or brought up to date; a second time nothing is changed.

    A configuration that is not as we left it was edited by hand. It is put back if everything submitted so far can be
    read under ours; else PlatformError says how much cannot. Label Studio itself refuses a page under which it could
    not show what was submitted. Raises PlatformError.
    """
    wanted = {**project_options(page), "description": _description(page)}
    found = [p for p in _listed(server) if _mark(page) in str(p.get("description"))]
    if not found:
        title = f"{page.dataset} · {page.queue}"[:LONGEST_TITLE]
        return _id(server.create("api/projects", {"title": title, **wanted}).body)
    project = min((_id(p) for p in found), key=int)  # of a project that somebody duplicated, the original
    is_now = server.get(f"api/projects/{project}").body
    differs = {name: value for name, value in wanted.items() if is_now.get(name) != value}
    if "label_config" in differs and _is_edited(is_now):
        _check_that_nothing_is_lost(server, system, project, page)
    if differs:
        server.change("PATCH", f"api/projects/{project}", differs)
    return project


def _listed(server: Server) -> Iterator[Mapping[str, Any]]:
    """Projects with id and description, over all pages."""
    seen, number = 0, 1
    while True:
        said = server.get("api/projects", {"include": "id,description", "page_size": 100, "page": number}).body
        rows = said.get("results") if isinstance(said, dict) else None
        if not isinstance(rows, list):
            raise PlatformError("Label Studio, list of projects: an answer without results", expected="projects",
                                next="see that the `url` of the settings is that of a Label Studio")
        yield from rows
        seen, number = seen + len(rows), number + 1
        if not rows or seen >= int(said.get("count") or 0):
            return


def _mark(page: Page) -> str:
    return f"tiebreak-queue:{content_id('label_studio', page.dataset, page.queue)}"


def _description(page: Page) -> str:
    config = str(project_options(page)["label_config"])
    return (f"Filled by Tiebreak: dataset {page.dataset}, queue {page.queue}. Keep this line, the project is known by "
            f"it: {_mark(page)} page:{_digest(config)}")


def _digest(config: str) -> str:
    return hashlib.sha256(config.encode()).hexdigest()[:16]


def _is_edited(project: Mapping[str, Any]) -> bool:
    """Whether the configuration is not the one that was last put there."""
    left = _CONFIG.search(str(project.get("description")))
    return left is None or left[1] != _digest(str(project.get("label_config")))


def _check_that_nothing_is_lost(server: Server, system: str, project: str, page: Page) -> None:
    said = pull(server, system, project, None).submissions.filter(~pl.col("is_skipped") & ~pl.col("is_deleted"))
    read = read_results(said["result"], page)
    strange = read.filter(read["column"].is_not_null())
    n_lost = said["result"].is_in(strange["result"].implode()).sum()
    if n_lost:
        first = strange.row(0, named=True)
        raise PlatformError(
            f"Label Studio, project {project}: its page was edited by hand, and {n_lost} submissions say what ours "
            f"cannot hold, such as {first['seen']}", expected=str(first["expected"]),
            next="delete those submissions or the project, then run again; ours is put back only if nothing is lost",
        )


def _id(project: Any) -> str:
    number = project.get("id") if isinstance(project, dict) else None
    if not isinstance(number, int):
        raise PlatformError("Label Studio, project: an answer without an id", expected="a project with its id",
                            next="see that the `url` of the settings is that of a Label Studio")
    return str(number)
