"""A simulated world: prompts, answers whose latent quality is a function of their text, gate gold.

The truth is computed here and handed to the simulated voters inside the adapter; `gold` is the one
place where it comes out. Everything is fixed by the recipe's `World` and content hashes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtri, pdtr

from curate.adapters import simulated_text
from curate.adapters.simulated_corpus import corpus_id, corpus_quality
from curate.adapters.simulated_text import CLOSERS, GOLD_TOPICS, KINDS, OPENERS, PADDING, READERS, ROLES, TOPICS
from schemas.errors import InputError, RecipeError, RefusedError
from schemas.ids import content_id, uniform_expr
from schemas.sections import SimulatedPolicy, SimulatedVoter, World

Floats = NDArray[np.float64]

TASTE = 0.5
"""spread of a world's hidden taste around the valence that sentences were written with"""
TIE_BELOW = 0.1
"""gold: a smaller true difference, in spreads of one answer, is a tie"""
MAX_TILT = 4.0
"""policies keep some variety however good or bad they are meant to be"""
MAX_PADDING = 10
FOREIGN = -3.0
"""quality of a text without any sentence of the world: an empty one, a lone opener, an order to the judge"""
_BANK = content_id(json.dumps({k: v for k, v in vars(simulated_text).items() if k.isupper()}))
DRAWS = ("role 0", "role 1", "role 2", "role 3", "role 4", "opener", "closer", "layout", "padding", "start", "stride")


class SimulatedWorld:
    """Prompts, texts and truth of a recipe's `World`.

    Raises RecipeError when two policies, or two voters, share a name, or policies would write beside the corpus.
    """

    def __init__(self, world: World) -> None:
        _refuse_repeats("policies", [p.name for p in world.policies])
        _refuse_repeats("judges and annotators", [v.name for v in (*world.judges, *world.annotators)])
        if world.corpus and (world.policies or world.n_gold):
            raise RecipeError("world: the demo corpus, and policies or n_gold", expected="one or the other",
                              next="remove corpus = true, or [[world.policies]] and n_gold")
        self.world = world
        self._weights = _hidden_weights(world.seed)
        self._worth = _worth_of_markers(self._weights)
        self._cumulated = {p.name: _cumulated(self._weights, p) for p in world.policies}

    def identity(self, who: SimulatedPolicy | SimulatedVoter) -> str:
        """What stands in a call key: `simulated/<name>@<revision>`."""
        return f"simulated/{who.name}@{self.revision(who)}"

    def revision(self, who: SimulatedPolicy | SimulatedVoter) -> str:
        """Eight digits of everything that decides its answers: the world's seed, its traits, the texts."""
        bank = corpus_id() if self.world.corpus else _BANK
        return content_id(self.world.seed, json.dumps(who.model_dump(mode="json"), sort_keys=True), bank)[:8]

    def prompts(self, round_n: int) -> pl.DataFrame:
        """Frame (messages, category, group), `world.n_prompts` rows; `messages` is canonical JSON.

        Rounds do not repeat a prompt until all 10,800 are used up. A group is a topic and a kind of task.
        """
        asked = _questions(TOPICS, self.world.seed)
        rows = (np.arange(self.world.n_prompts) + round_n * self.world.n_prompts) % asked.height
        chosen = asked[rows].unique(subset="prompt", maintain_order=True)
        messages = pl.concat_str(pl.lit('[{"role":"user","content":"'), "prompt", pl.lit('"}]')).alias("messages")
        return chosen.select(messages, "category", "group")

    def write(self, asked: pl.DataFrame) -> pl.Series:
        """Texts for a frame (key, policy, prompt), in its order: a function of world and row alone.

        About 30 µs per text. Raises InputError for a policy that the world does not have.
        """
        unknown = sorted(set(asked["policy"].unique()) - set(self._cumulated))
        if unknown:
            raise InputError(f"policies {unknown}", expected=f"one of {sorted(self._cumulated)}")
        drawn = asked.select(uniform_expr(self.world.seed, [pl.lit(d), "policy", "key"]).alias(d) for d in DRAWS)
        topic = asked["prompt"].str.extract_many([*TOPICS, *GOLD_TOPICS]).list.first().fill_null("this")
        pieces = [pl.Series(OPENERS).gather(_index(drawn["opener"], len(OPENERS)))]
        padding = self._padding(asked["policy"], drawn)
        for role in range(len(ROLES)):
            pieces += [self._role(asked["policy"], drawn[f"role {role}"], role), *padding[role :: len(ROLES)]]
        return _lay_out(pieces, drawn, topic)

    def quality(self, texts: pl.Series) -> pl.Series:
        """Latent quality of each text, mean 0 and spread 1 over answers written without skill.

        A sentence counts once however often it stands there; a text of no known sentence has FOREIGN. In a world
        over the demo corpus it is what the corpus' author said of the text.
        """
        if self.world.corpus:
            return texts.replace_strict(corpus_quality(), default=FOREIGN, return_dtype=pl.Float64).alias("quality")
        found = texts.str.extract_many(list(self._worth)).list.unique()
        worth = pl.element().replace_strict(self._worth, return_dtype=pl.Float64)
        total = found.list.eval(worth).list.sum().alias("quality")
        return total.set(found.list.len() == 0, FOREIGN)

    def gold(self, n: int) -> pl.DataFrame:
        """`n` pairs of known truth: (prompt, response_a, response_b, p_a, p_tie, category, group).

        Their topics occur in no round. A true difference under 0.1 spreads is a tie (about one in
        twenty), any other pair is decided. Raises RefusedError when the world has too few prompts.
        """
        asked = _questions(GOLD_TOPICS, self.world.seed).head(n + n // 8 + 8)
        texts = asked.with_columns(
            response_a=self.write(self._asked(asked, "left")), response_b=self.write(self._asked(asked, "right"))
        ).filter(pl.col("response_a") != pl.col("response_b"))
        if texts.height < n:
            raise RefusedError(f"{n} gold pairs", expected=f"at most {texts.height}", next="lower world.n_gold")
        return _with_truth(texts.head(n), self)

    def _asked(self, questions: pl.DataFrame, side: str) -> pl.DataFrame:
        if not self.world.policies:
            raise RecipeError("a simulated world without policies", expected="[[world.policies]]")
        key = pl.concat_str(pl.lit(f"gold {side} "), "prompt").alias("key")
        who = uniform_expr(self.world.seed, [pl.lit("who"), "key"])
        draw = questions.with_columns(key).select("prompt", "key", who)
        names = pl.Series("policy", [p.name for p in self.world.policies])
        return draw.with_columns(names.gather(_index(draw["uniform"], len(names))))

    def _role(self, policy: pl.Series, draw: pl.Series, role: int) -> pl.Series:
        at = np.zeros(len(draw), dtype=np.int64)
        for name, cumulated in self._cumulated.items():
            mine = (policy == name).to_numpy()
            at[mine] = np.searchsorted(cumulated[role], draw.to_numpy()[mine], side="right")
        return pl.Series([text for _, text in ROLES[role]]).gather(at)

    def _padding(self, policy: pl.Series, drawn: pl.DataFrame) -> list[pl.Series]:
        mean = {p.name: max(p.verbosity, 0.0) for p in self.world.policies}
        means = policy.replace_strict(mean, return_dtype=pl.Float64).to_numpy()
        count = (drawn["padding"].to_numpy() >= pdtr(np.arange(MAX_PADDING)[:, None], means)).sum(axis=0)
        start, stride = _index(drawn["start"], len(PADDING)), 1 + _index(drawn["stride"], len(PADDING) - 1)
        at = [(start + k * stride) % len(PADDING) for k in range(MAX_PADDING)]
        bank = pl.Series(PADDING)
        return [bank.gather(pl.Series(at[k]).set(pl.Series(count <= k), None)) for k in range(MAX_PADDING)]


def _with_truth(texts: pl.DataFrame, world: SimulatedWorld) -> pl.DataFrame:
    gap = world.quality(texts["response_a"]) - world.quality(texts["response_b"])
    is_tie = gap.abs() < TIE_BELOW
    return texts.select(
        "prompt", "response_a", "response_b",
        ((gap > 0) & ~is_tie).cast(pl.Float64).alias("p_a"), is_tie.cast(pl.Float64).alias("p_tie"),
        "category", "group",
    )


def _refuse_repeats(what: str, names: Sequence[str]) -> None:
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise RecipeError(f"world: {what} repeat {repeated}", expected="a name of its own for each")


def _hidden_weights(seed: int) -> list[Floats]:
    """Per role, the weight of each sentence: centred, scaled so that skill-less answers have spread 1."""
    weights = []
    for role, sentences in enumerate(ROLES):
        texts = pl.DataFrame({"text": [text for _, text in sentences]})
        taste = normal(texts.select(uniform_expr(seed, [pl.lit(f"taste {role}"), "text"])).to_series())
        raw = np.array([valence for valence, _ in sentences]) + TASTE * taste
        weights.append(raw - raw.mean())
    spread = float(np.sqrt(sum(w.var() for w in weights)))
    # On a grid of 1/1024 sums are exact in any order.
    return [np.round(w / spread * 1024) / 1024 for w in weights]


def _worth_of_markers(weights: Sequence[Floats]) -> dict[str, float]:
    """What a text is recognised by: each sentence's longest piece that holds no topic."""
    pieces = [max(text.split("{topic}"), key=len) for sentences in ROLES for _, text in sentences]
    return dict(zip(pieces, (float(w) for role in weights for w in role), strict=True))


def _cumulated(weights: Sequence[Floats], policy: SimulatedPolicy) -> list[Floats]:
    """Distribution over each role's sentences, exponentially tilted so that the mean quality is the policy's."""
    low, high = -MAX_TILT, MAX_TILT
    for _ in range(50):
        middle = (low + high) / 2
        is_short = sum(float(_tilted(w, middle) @ w) for w in weights) < policy.quality
        low, high = (middle, high) if is_short else (low, middle)
    sums = [np.cumsum(_tilted(w, low)) for w in weights]
    return [np.append(s[:-1], 1.0) for s in sums]


def _tilted(weights: Floats, tilt: float) -> Floats:
    mass = np.exp(tilt * (weights - weights.max()) if tilt >= 0 else tilt * (weights - weights.min()))
    return np.asarray(mass / mass.sum(), dtype=np.float64)


def _questions(topics: Sequence[str], seed: int) -> pl.DataFrame:
    """All prompts over some topics, (prompt, category, group), in an order that only the seed decides."""
    asks = pl.DataFrame({"category": list(KINDS), "ask": [list(asks) for asks in KINDS.values()]}).explode("ask")
    grid = asks.join(pl.DataFrame({"topic": topics}), how="cross").join(pl.DataFrame({"reader": READERS}), how="cross")
    prompt = fill(fill(pl.col("ask"), "{topic}", pl.col("topic")), "{reader}", pl.col("reader")).alias("prompt")
    group = pl.concat_str(pl.lit("simulated"), "category", "topic", separator="/").alias("group")
    order = uniform_expr(seed, [pl.lit("prompts"), "prompt"])
    return grid.select(prompt, "category", group).sort(order, "prompt")


def _lay_out(pieces: Sequence[pl.Series], drawn: pl.DataFrame, topic: pl.Series) -> pl.Series:
    """Opener, body and closer; the body is running text or a list, half and half."""
    frame = pl.DataFrame([p.alias(f"piece {i}") for i, p in enumerate(pieces)]).with_columns(
        topic.alias("topic"),
        pl.when(drawn["layout"] < 0.5).then(pl.lit(" ")).otherwise(pl.lit("\n- ")).alias("between"),
        pl.Series(CLOSERS).gather(_index(drawn["closer"], len(CLOSERS))).alias("closer"),
    )
    body = pl.concat_list(pl.col(r"^piece \d+$")).list.drop_nulls().list.join(pl.col("between"))
    text = pl.concat_str(body, pl.lit("\n\n"), "closer").str.strip_chars_end()
    return frame.select(fill(text, "{topic}", pl.col("topic")).alias("text")).to_series()


def fill(text: pl.Expr, blank: str, value: pl.Expr) -> pl.Expr:
    """`text` with a blank filled in row by row."""
    return text.str.split(blank).list.join(value)


def normal(uniform: pl.Series) -> Floats:
    """Standard normal numbers from hash draws; half a step up keeps 0 from becoming minus infinity."""
    return np.asarray(ndtri(uniform.to_numpy() + 2.0**-33), dtype=np.float64)


def _index(uniform: pl.Series, n: int) -> NDArray[np.int64]:
    return np.asarray(np.floor(uniform.to_numpy() * n), dtype=np.int64)
