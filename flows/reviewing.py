"""The meta-judge in a round: verdicts given with reasons are reviewed before they are recorded."""

from __future__ import annotations

import polars as pl

from curate.judging.instruments import shipped_instrument
from curate.judging.meta import apply_meta, meta_questions
from curate.judging.reading import read_verdicts
from flows.asking import ask
from flows.rounds import Turn

INSTRUMENT = "meta@1"
PARAMETERS = {"temperature": 0.0}


def reviewed(turn: Turn, votes: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """`votes` with those that the recipe's meta-judge refutes made abstentions; untouched when it names none.

    `pairs` has pair_id, prompt (JSON of messages), text_a, text_b, and perhaps system; pairs may repeat. The judges'
    calls stay recorded as they were answered.
    """
    name = turn.recipe.judging.meta_judge
    if not name:
        return votes
    instrument, identity = shipped_instrument(INSTRUMENT), turn.engines.identity(name)
    plan, links = meta_questions(votes, pairs, (name, identity), instrument, PARAMETERS)
    read = read_verdicts(ask(turn, "judge", plan), instrument)
    after = apply_meta(votes, read, links, instrument.scale, identity)
    n_refuted = int(after["is_abstention"].sum()) - int(votes["is_abstention"].sum())
    turn.say(f"{name}: refuted {n_refuted:,} of {links.height:,} verdicts with reasons")
    return after
