"""The adapter and the reading over a real Label Studio server: three people, over the API, in projects of their own."""

from __future__ import annotations

import datetime as dt
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from label_studio_server import LabelStudio as Server
from label_studio_server import Person
from pretended_label_studio import cards

from curate.adapters.label_studio.platform import LabelStudioPlatform
from curate.annotating.pseudonyms import pseudonym
from curate.annotating.reading import Read, Rules, changes
from curate.engines import Changes, Page
from schemas.errors import PlatformError
from schemas.settings import LabelStudio
from schemas.tables import SUBMISSIONS, VOTES

pytestmark = pytest.mark.service
KEY = b"a key of sixteen bytes or more"
ROOT = Path(__file__).resolve().parents[3]
NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def page(name: str, **fields: Any) -> Page:
    return Page(name, "all", "Be *fair*.", **{"overlap": 3, **fields})


def platform_of(server: Server, token: str) -> LabelStudioPlatform:
    return LabelStudioPlatform(LabelStudio(url=server.url), token)


@pytest.fixture
def platform(label_studio: Server) -> Iterator[LabelStudioPlatform]:
    made = platform_of(label_studio, label_studio.admin.token)
    yield made
    made.close()


class Work:
    """What people do on one project, over the API, and what has been read of it."""

    def __init__(self, server: Server, platform: LabelStudioPlatform, n: int, page: Page) -> None:
        self.server, self.platform, self.page, self.n = server, platform, page, n
        self.project = platform.prepare(page)
        self.sent = platform.send(self.project, cards(n))
        self.reads: list[Read] = []
        self.watermark: dt.datetime | None = None

    def say(self, person: Person, task: int, choice: str = "", **fields: Any) -> int:
        """One submission on the n-th sent task; its id."""
        body = {"result": result(choice) if choice else [], "lead_time": 4.5, **fields}
        return int(self._ask(person, "POST", f"/api/tasks/{self.sent['external_id'][task]}/annotations/", body)["id"])

    def edit(self, person: Person, number: int, choice: str) -> None:
        self._ask(person, "PATCH", f"/api/annotations/{number}/", {"result": result(choice)})

    def delete(self, person: Person, number: int) -> None:
        self._ask(person, "DELETE", f"/api/annotations/{number}/")

    def _ask(self, person: Person, method: str, path: str, body: object = None) -> Any:
        with self.server.client(person) as client:
            said = client.request(method, path, json=body).raise_for_status()
        return said.json() if said.content else {}

    def tasks(self) -> pl.DataFrame:
        return cards(self.n).join(self.sent, on="task_key").with_columns(
            round_id=pl.lit("r"), is_prefilled=pl.lit(False))

    def read(self, found: Changes, known: pl.DataFrame) -> Read:
        rules = Rules(self.platform.system, KEY, NOON, instrument="guideline@1", cost_usd=0.25)
        return changes(found, known, self.tasks(), self.page, rules)

    def pull(self) -> Read:
        """One more increment."""
        found = self.platform.pull(self.project, self.watermark)
        self.watermark = found.watermark_at
        self.reads.append(self.read(found, self.known()))
        return self.reads[-1]

    def known(self) -> pl.DataFrame:
        states = pl.concat([SUBMISSIONS.empty(), *(read.submissions for read in self.reads)])
        return states.sort("submission", "n").unique("submission", keep="last", maintain_order=True)


def result(choice: str) -> list[dict[str, Any]]:
    return [{"from_name": "verdict", "to_name": "pair", "type": "choices", "value": {"choices": [choice]}}]


def current(*reads: Read) -> pl.DataFrame:
    """(voter, pair_id, strength) of votes that count."""
    votes = pl.concat([VOTES.empty(), *(read.votes for read in reads)])
    stand = votes.filter(pl.col("status") == "cast", ~pl.col("vote_id").is_in(votes["supersedes"].implode()))
    return stand.select("voter", "pair_id", "strength").sort("voter", "pair_id")


def test_increments_of_three_people_end_where_a_full_reading_does(
    label_studio: Server, platform: LabelStudioPlatform
) -> None:
    work = Work(label_studio, platform, 6, page("increments"))
    ann, ben, cem = label_studio.people
    assert work.pull().submissions.height == 0
    first = [work.say(person, 0, choice) for person, choice in zip((ann, ben, cem), ("3", "-1", "0"), strict=True)]
    others = [work.say(ann, 1, "2"), work.say(ben, 1, "1"), work.say(cem, 2, was_cancelled=True)]
    said = work.pull()
    assert said.submissions["outcome"].sort().to_list() == ["skipped", *["voted"] * 5]
    assert said.answers["outcome"].to_list() == ["voted"]
    assert set(said.votes["voter"]) == {pseudonym(str(p.id), platform.system, KEY) for p in (ann, ben, cem)}
    assert said.submissions["seconds"].unique().to_list() == [4.5]
    work.edit(ann, first[0], "-3")
    work.delete(ben, others[1])
    work.say(ben, 3, "cannot_judge")
    work.say(ben, 4, "nonsense")
    changed = work.pull()
    assert changed.submissions["outcome"].sort().to_list() == ["cannot_judge", "deleted", "refused", "voted"]
    assert changed.rejects["seen"].to_list() == ['choices ["nonsense"]']
    assert work.pull().submissions.height == 0
    whole = work.read(platform.pull(work.project, None), SUBMISSIONS.empty())
    assert current(*work.reads).equals(current(whole))
    assert current(whole)["strength"].sort().to_list() == [None, -3.0, -1.0, 0.0, 2.0]


def test_a_thousand_pairs_are_sent_once_and_are_there(label_studio: Server, platform: LabelStudioPlatform) -> None:
    work = Work(label_studio, platform, 1000, page("thousand"))
    assert platform.send(work.project, cards(1000)).equals(work.sent)
    assert platform.send(work.project, cards(1001)).height == 1001
    held = platform.held(work.project)
    assert (held.height, held["n_submissions"].sum()) == (1001, 0)
    assert held.join(work.sent, on=["external_id", "task_key"]).height == 1000


def test_an_answered_task_stays_when_tasks_are_taken_back(
    label_studio: Server, platform: LabelStudioPlatform
) -> None:
    work = Work(label_studio, platform, 4, page("recall"))
    ann, ben, _ = label_studio.people
    work.say(ann, 0, "1")
    work.say(ben, 1, was_cancelled=True)
    gone = platform.recall(work.project, work.sent["external_id"].to_list())
    assert gone["is_gone"].to_list() == [False, False, True, True]
    assert platform.held(work.project)["n_submissions"].to_list() == [1, 1]


@pytest.mark.parametrize("point", range(3))
def test_a_sending_that_is_killed_leaves_no_copies_when_it_is_done_again(
    label_studio: Server, platform: LabelStudioPlatform, kill_seed: int, point: int
) -> None:
    project = platform.prepare(page(f"killed-{point}"))
    program = [sys.executable, "-c", SENDING, label_studio.url, label_studio.admin.token, project]
    path = os.pathsep.join(["tests", *os.environ.get("PYTHONPATH", "").split(os.pathsep), "."])
    with subprocess.Popen(program, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"sending\n"
        time.sleep(random.Random(kill_seed + point).uniform(0, 2))
        child.kill()
    sent = platform.send(project, cards(1200))
    held = platform.held(project)
    assert held["task_key"].is_unique().all()
    assert held.select("external_id", "task_key").sort("task_key").equals(sent.select("external_id", "task_key"))


SENDING = """
import sys
from pretended_label_studio import cards
from curate.adapters.label_studio.platform import LabelStudioPlatform
from schemas.settings import LabelStudio
url, token, project = sys.argv[1:]
platform, every = LabelStudioPlatform(LabelStudio(url=url), token), cards(1200)
print("sending", flush=True)
platform.send(project, every)
"""


def test_foreign_tasks_are_counted_and_refused(label_studio: Server, platform: LabelStudioPlatform) -> None:
    work = Work(label_studio, platform, 1, page("foreign"))
    with label_studio.client() as client:
        foreign = client.post(f"/api/projects/{work.project}/import", params={"return_task_ids": "true"},
                              json=[{"data": {"pair_id": "?", "text": "no key"}}]).raise_for_status().json()
        client.post(f"/api/tasks/{foreign['task_ids'][0]}/annotations/", json={"result": result("1")})
    read = work.pull()
    assert (read.votes.height, read.submissions["outcome"].to_list()) == (0, ["refused"])
    assert platform.held(work.project)["task_key"].null_count() == 1


def test_tokens_of_both_kinds_work_and_wrong_ones_are_told_apart(label_studio: Server) -> None:
    named = page("tokens")
    projects = {platform_of(label_studio, token).prepare(named)
                for token in (label_studio.admin.token, label_studio.admin.personal_token)}
    assert len(projects) == 1
    for token in ("f" * 40, label_studio.admin.personal_token[:-4] + "AAAA"):
        with pytest.raises(PlatformError, match=r"status 401.*LABEL_STUDIO_TOKEN") as caught:
            platform_of(label_studio, token).prepare(named)
        assert token not in str(caught.value)


def test_a_project_keeps_to_its_page_and_is_made_anew_when_deleted(
    label_studio: Server, platform: LabelStudioPlatform
) -> None:
    work = Work(label_studio, platform, 2, page("upgrade"))
    work.say(label_studio.people[0], 0, "1")
    path = f"/api/projects/{work.project}"
    with label_studio.client() as client:
        made = client.get(path).json()
        assert (made["title"], made["maximum_annotations"]) == ("upgrade · all", 3)
        assert platform.prepare(work.page) == work.project
        assert platform.prepare(page("upgrade", attributes=("clarity",), overlap=2)) == work.project
        newer = client.get(path).json()
        assert (newer["maximum_annotations"], "rate_first_clarity" in newer["label_config"]) == (2, True)
        edited = newer["label_config"].replace('alias="3"', 'alias="splendid"')
        client.patch(path, json={"label_config": edited}).raise_for_status()
        assert platform.prepare(page("upgrade", attributes=("clarity",), overlap=2)) == work.project
        assert client.get(path).json()["label_config"] == newer["label_config"]
        client.patch(path, json={"label_config": edited}).raise_for_status()
        work.say(label_studio.people[1], 1, "splendid")
        with pytest.raises(PlatformError, match=r"edited by hand, and 1 submissions.*splendid"):
            platform.prepare(page("upgrade", attributes=("clarity",), overlap=2))
        client.delete(path).raise_for_status()
    with pytest.raises(PlatformError, match=r"status 404.*made anew"):
        platform.pull(work.project, None)
    assert platform.prepare(work.page) != work.project
