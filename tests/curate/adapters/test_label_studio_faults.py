"""The adapter over a pretended Label Studio that fails on command: each failure is a clear error, nothing is lost."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pretended_label_studio import Pretended, Reply, cards, said

from curate.adapters.label_studio import client
from curate.adapters.label_studio.platform import LabelStudioPlatform
from curate.annotating.page import project_options
from curate.engines import Page
from schemas.errors import PlatformError
from schemas.ids import content_id
from schemas.settings import LabelStudio

TOKEN = "5ec3e75ec3e75ec3e75ec3e75ec3e75ec3e75ec3"
PAGE = Page("helpful", "all", "", overlap=2)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_S", 0.001)


@pytest.fixture
def pretended() -> Pretended:
    return Pretended()


@pytest.fixture
def url(pretended: Pretended) -> Iterator[str]:
    with pretended.serving() as address:
        yield address


@pytest.fixture
def platform(url: str) -> Iterator[LabelStudioPlatform]:
    made = LabelStudioPlatform(LabelStudio(url=url, timeout_s=5.0), TOKEN)
    yield made
    made.close()


def always(status: int, body: Any = None, path: str = "") -> Callable[[str, str], Reply | None]:
    return lambda method, asked: (status, body) if path in asked else None


def once(status: int, body: Any, method: str) -> Callable[[str, str], Reply | None]:
    left = [1]
    return lambda how, path: (status, body) if how == method and left and left.pop() else None


@pytest.mark.slow
@pytest.mark.parametrize(("status", "body", "words"), [
    (401, {"detail": "Invalid token."}, "Invalid token.*LABEL_STUDIO_TOKEN"),
    (403, {"detail": "You do not have permission"}, "permission.*administrator"),
    (500, b"<html>oops</html>", "status 500"),
    (503, {"detail": "busy"}, "status 503: busy"),
    (200, b"<html>log in</html>", "instead of JSON"),
    (302, b"", "status 302"),
    (200, [], "without tasks|without results|without an id"),
    (200, {"results": 3, "tasks": [{"id": "x"}]}, "without tasks|without results|without an id"),
    (0, None, "connection broke"),
])
def test_whatever_the_server_says_is_a_clear_error(
    pretended: Pretended, platform: LabelStudioPlatform, status: int, body: Any, words: str
) -> None:
    pretended.projects[1] = {"id": 1}
    pretended.faults.append(always(status, body))
    for ask in (lambda: platform.prepare(PAGE), lambda: platform.held("1")):
        with pytest.raises(PlatformError, match=words) as caught:
            ask()
        assert caught.value.expected
        assert caught.value.next
        assert caught.value.__context__ is None


def test_errors_hold_neither_token_nor_address_of_a_person(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.faults.append(always(400, {"detail": f"Token {TOKEN} of ann@example.org has no right"}))
    with pytest.raises(PlatformError) as caught:
        platform.held("1")
    assert "has no right" in str(caught.value)
    assert TOKEN not in repr(caught.value)
    assert "example.org" not in str(caught.value)
    assert TOKEN not in repr(platform.__dict__)
    assert platform.system.startswith("label_studio/127.0.0.1:")


@pytest.mark.slow
def test_what_passes_is_asked_again_and_what_would_be_made_twice_is_not(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.projects[1] = {"id": 1}
    pretended.faults.append(once(503, {}, "GET"))
    assert platform.held("1").height == 0
    pretended.faults[:] = [once(503, {}, "POST")]
    with pytest.raises(PlatformError, match="status 503"):
        platform.send("1", cards(1))
    assert pretended.paths("POST") == ["/api/projects/1/import"]
    pretended.faults[:] = [always(500)]
    pretended.asked.clear()
    with pytest.raises(PlatformError):
        platform.held("1")
    assert len(pretended.asked) == client.ATTEMPTS


@pytest.mark.service
def test_a_server_that_is_down_or_silent_is_named_by_setting_and_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(PlatformError, match=r"no answer in 0\.2 s"):
            LabelStudioPlatform(LabelStudio(url=address, timeout_s=0.2), TOKEN).held("1")
    with pytest.raises(PlatformError, match=r"nobody takes connections there; .*`url`"):
        LabelStudioPlatform(LabelStudio(url=address, timeout_s=0.2), TOKEN).held("1")


@pytest.mark.parametrize("token", ["", "two words", "zwölf"])
def test_a_token_that_is_none_is_refused_before_it_is_sent(token: str) -> None:
    with pytest.raises(PlatformError, match="LABEL_STUDIO_TOKEN"):
        LabelStudioPlatform(LabelStudio(url="http://127.0.0.1:9"), token)


@pytest.mark.slow
def test_a_personal_token_is_refreshed_and_refreshed_again_when_it_runs_out(pretended: Pretended, url: str) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"token_type": "refresh", "exp": 4102444800}).encode()).decode()
    platform = LabelStudioPlatform(LabelStudio(url=url), f"e30.{claims.rstrip('=')}.signed")
    pretended.projects[1] = {"id": 1}
    assert platform.held("1").height == 0
    assert {said for _, _, said in pretended.asked} == {"", "Bearer ACCESS"}
    pretended.faults.append(once(401, {"detail": "expired"}, "GET"))
    assert platform.held("1").height == 0
    assert pretended.paths("POST") == ["/api/token/refresh/"] * 2
    pretended.faults[:] = [always(401, {"detail": "expired"})]
    with pytest.raises(PlatformError, match=r"expired.*LABEL_STUDIO_TOKEN"):
        platform.held("1")


@pytest.mark.slow
def test_a_project_is_found_by_its_mark_made_anew_when_deleted_and_not_touched_without_need(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.projects |= {i: {"id": i, "title": "helpful · all", "description": ""} for i in (1, 2, 3)}
    project = platform.prepare(PAGE)
    assert (project, platform.prepare(PAGE)) == ("4", "4")
    assert pretended.projects[4]["title"] == "helpful · all"
    assert (pretended.paths("POST"), pretended.paths("PATCH")) == (["/api/projects"], [])
    assert platform.prepare(Page("helpful", "experts", "")) == "5"
    pretended.projects[4]["id"] = 4
    pretended.projects[6] = {**pretended.projects.pop(4), "id": 6}
    assert platform.prepare(PAGE) == "6"
    del pretended.projects[6]
    pretended.projects[7] = {"id": 7}
    with pytest.raises(PlatformError, match=r"No Project.*made anew"):
        platform.pull("6", None)
    assert int(platform.prepare(PAGE)) in pretended.projects


def test_another_overlap_or_page_of_ours_is_brought_up_to_date(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    project = int(platform.prepare(PAGE))
    pretended.add(project, {"task_key": "k"}, said(1, "1"))
    newer = Page("helpful", "all", "Be fair.", ("clarity",), overlap=3, is_blind=False)
    assert platform.prepare(newer) == str(project)
    assert {k: pretended.projects[project][k] for k in project_options(newer)} == project_options(newer)


@pytest.mark.slow
def test_a_page_edited_by_hand_is_put_back_unless_answers_would_be_lost(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    project = int(platform.prepare(PAGE))
    ours = pretended.projects[project]["label_config"]
    pretended.add(project, {"task_key": "k"}, said(1, "1"), said(2, was_cancelled=True))
    pretended.projects[project]["label_config"] = "<View/>"
    platform.prepare(PAGE)
    assert pretended.projects[project]["label_config"] == ours
    pretended.projects[project]["label_config"] = "<View/>"
    pretended.add(project, {"task_key": "l"}, said(3, "splendid"))
    with pytest.raises(PlatformError, match=r"edited by hand, and 1 submissions.*splendid"):
        platform.prepare(PAGE)
    assert pretended.projects[project]["label_config"] == "<View/>"


@pytest.mark.service
def test_cards_are_sent_once_in_few_requests_whatever_was_killed(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.projects[1] = {"id": 1}
    pretended.add(1, {"text": "somebody else's"})
    assert platform.send("1", cards(1200)).height == 1200
    assert len(pretended.asked) <= 8
    there = {t["data"].get("task_key"): str(t["id"]) for t in pretended.tasks.values()}
    pretended.asked.clear()
    again = platform.send("1", cards(1201))
    assert {key: name for key, name in again.rows() if key in there} == {k: v for k, v in there.items() if k}
    assert (len(pretended.tasks), pretended.paths("POST")) == (1202, ["/api/projects/1/import"])
    pretended.drops_bodies = True
    assert platform.send("1", cards(1201)).equals(again)
    assert len(pretended.tasks) == 1202


@pytest.mark.slow
def test_copies_of_an_import_that_was_still_running_are_taken_away_and_answered_ones_stay(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.projects[1] = {"id": 1}
    late: list[int] = []

    def meanwhile(method: str, path: str) -> None:
        if path.endswith("/import") and not late:
            late.append(pretended.add(1, {"task_key": content_id("task", 0)}))
            late.append(pretended.add(1, {"task_key": content_id("task", 1)}, said(1, "2")))

    pretended.faults.append(meanwhile)
    sent = dict(platform.send("1", cards(3)).rows())
    assert sorted(t["data"]["task_key"] for t in pretended.tasks.values()) == sorted(sent)
    assert sent[content_id("task", 1)] == str(late[1])
    assert {str(i) for i in pretended.tasks} == set(sent.values())


@pytest.mark.slow
def test_an_import_without_ids_is_an_error_and_found_by_the_next_send(
    pretended: Pretended, platform: LabelStudioPlatform
) -> None:
    pretended.projects[1] = {"id": 1}
    pretended.faults.append(always(201, {"import": 5}, "/import"))
    with pytest.raises(PlatformError, match=r"no id for each of 2 tasks.*run again"):
        platform.send("1", cards(2))
    pretended.faults.clear()
    assert platform.send("1", cards(2)).height == len(pretended.tasks) == 2
