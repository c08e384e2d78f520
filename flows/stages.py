"""The stages of a round, in order. Each is a plain function of a `Turn` and returns how many rows it made."""

from __future__ import annotations

from flows.gold import mark_gold
from flows.judging import judge
from flows.label import route, score
from flows.people import collect, send
from flows.release import export, release, settle
from flows.retrain import evaluate, gate, retrain
from flows.rounds import Stage
from flows.synthesize import synthesize

STAGES: dict[str, Stage] = {
    "synthesize": synthesize,
    "mark_gold": mark_gold,
    "judge": judge,
    "score": score,
    "route": route,
    "send": send,
    "collect": collect,
    "settle": settle,
    "release": release,
    "export": export,
    "retrain": retrain,
    "evaluate": evaluate,
    "gate": gate,
}
