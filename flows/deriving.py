"""What follows from labels that are there: pairs in scope with their labels, and RRM's augmented ones."""

from __future__ import annotations

import polars as pl

from curate.synthesis.augmentation import augment
from curate.synthesis.lineage import discards
from flows.candidates import STAGE
from flows.rounds import Turn
from schemas.ids import seed_of


def labelled_pairs(turn: Turn) -> pl.DataFrame:
    """Pairs that the newest version keeps, with label, group and texts; none when nothing of the recipe needs them."""
    synthesis = turn.recipe.synthesis
    n = turn.parent_n if synthesis.n_failures or synthesis.n_augmented else 0
    with turn.store.write(STAGE) as writer:
        return writer.query("labelled_pairs", dataset=turn.recipe.dataset, n=n, sources=turn.sources)


def augmented(turn: Turn, labelled: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Frames of the round's augmented pairs: a source of their own, votes of the voter `rrm`."""
    synthesis = turn.recipe.synthesis
    if not synthesis.n_augmented:
        return {}
    if labelled.is_empty():
        turn.say(f"{STAGE}: nothing to augment before a version of this dataset has labels")
        return {}
    made = augment(labelled, synthesis.n_augmented, turn.recipe.dataset,
                   seed_of(turn.recipe.seed, "augment", turn.n), criterion=turn.recipe.criterion)
    return {
        "sources": made.sources, "texts": made.texts, "responses": made.responses, "pairs": made.pairs,
        "voters": made.voters, "instruments": made.instruments, "votes": made.votes,
        "discards": discards(made.discards, "pair", STAGE, turn.round_id),
    }
