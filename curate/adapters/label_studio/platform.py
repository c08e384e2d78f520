"""Label Studio as an annotation platform: protocol `Platform` of curate/engines.py over one server and one token."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import urlsplit

import polars as pl

from curate.adapters.label_studio.client import Server
from curate.adapters.label_studio.projects import prepare
from curate.adapters.label_studio.pulling import held, pull, recall
from curate.adapters.label_studio.sending import send
from curate.engines import Changes, Page
from schemas.settings import LabelStudio


class LabelStudioPlatform:
    """A Label Studio server, Community 1.23 or later, one's own or the one that `make labelstudio` starts.

    `token` is a legacy or a personal one; it is kept here only, and no error holds it. Every method raises
    PlatformError, after at most three attempts where asking twice does no harm.
    """

    def __init__(self, settings: LabelStudio, token: str) -> None:
        parts = urlsplit(settings.url)
        port = f":{parts.port}" if parts.port else ""
        self._system = f"label_studio/{parts.hostname}{port}{parts.path.rstrip('/')}"
        self._server = Server(settings.url, token.strip(), settings.timeout_s, settings.token)

    @property
    def system(self) -> str:
        """`label_studio/` and where the server is, without user, password and token."""
        return self._system

    def prepare(self, page: Page) -> str:
        """The project of a queue: found by its mark, made, or brought up to date. See `projects.prepare`."""
        return prepare(self._server, self._system, page)

    def send(self, project: str, cards: pl.DataFrame) -> pl.DataFrame:
        """Frame CARDS in; (task_key, external_id) out, one row each. See `sending.send`."""
        return send(self._server, project, cards)

    def pull(self, project: str, since: datetime | None) -> Changes:
        """All submissions of every task changed since `since`, with overlap. See `pulling.pull`."""
        return pull(self._server, self._system, project, since)

    def held(self, project: str) -> pl.DataFrame:
        """(external_id, task_key, n_submissions) of every task there; task_key null for one that is not ours."""
        return held(self._server, project)

    def recall(self, project: str, external_ids: Sequence[str]) -> pl.DataFrame:
        """(external_id, is_gone): tasks without any submission are deleted, the others stay."""
        return recall(self._server, project, external_ids)

    def close(self) -> None:
        """Let go of connections."""
        self._server.close()
