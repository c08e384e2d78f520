"""A look at an endpoint from outside any run: does it answer, does it serve the model, does it take the key."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from schemas.settings import Endpoint


@dataclass(frozen=True)
class Look:
    """What was seen at an endpoint, and what mends it; nothing to mend: it is as it should be."""

    seen: str
    mend: str = ""


def look_at(endpoint: Endpoint, key: str, timeout_s: float) -> Look:
    """Ask an endpoint which models it serves. Neither the key nor a header is in what comes back."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{endpoint.url}/models", headers=headers, timeout=timeout_s)
    except httpx.HTTPError as error:
        return Look(f"no answer ({type(error).__name__})", "start the server, or mend url in settings.toml")
    if answer.status_code in (401, 403):
        return Look(f"{answer.status_code}: the key is refused", f"set the secret {endpoint.key or 'that key names'}")
    if answer.status_code != httpx.codes.OK:
        return Look(f"status {answer.status_code}", "check that url ends where the API begins, for vLLM in /v1")
    names = _names(answer)
    if endpoint.model not in names:
        return Look(f"serves {names}"[:200], f"serve it as {endpoint.model!r}, or name what is served")
    return Look(f"serves {endpoint.model}")


def _names(answer: httpx.Response) -> list[str]:
    try:
        return sorted(str(card["id"]) for card in answer.json()["data"])
    except (ValueError, KeyError, TypeError):
        return []
