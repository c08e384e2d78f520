"""The demo corpus is what its README says: complete, checked by programs where they can, and told by no shallow cue."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from curate.adapters.files import read_source
from curate.adapters.simulated_corpus import QUALITY, TAGS, corpus_folder, corpus_questions, corpus_responses
from curate.adapters.simulated_world import FOREIGN, SimulatedWorld
from curate.importing.convert import convert
from curate.rewards.crossfit import cross_fit
from curate.verifying.examining import examine
from curate.verifying.plugins import checks_of
from flows.demo_corpus import corpus_tags
from flows.demo_rounds import example
from flows.ingest import ingest
from schemas.errors import RecipeError
from schemas.ids import uniform_expr
from schemas.recipe import Training
from schemas.sections import SimulatedPolicy, World
from schemas.tables import COMPARISONS
from warehouse.reader import Reader
from warehouse.store import Store

LONGEST_SHARED = 12
"""words in a row that are neither chance nor a stock phrase ("is there anything else I can help you with")"""


@pytest.fixture(scope="module")
def responses() -> pl.DataFrame:
    return corpus_responses()


@pytest.fixture(scope="module")
def questions() -> pl.DataFrame:
    return corpus_questions()


@pytest.fixture(scope="module")
def pairs(responses: pl.DataFrame, questions: pl.DataFrame) -> pl.DataFrame:
    """COMPARISONS of all pairs, p_a being the author's truth, with both qualities."""
    known = responses.with_columns(worth=pl.col("quality").replace_strict(QUALITY, return_dtype=pl.Float64))
    both = known.join(known, on="question_id", suffix="_b").filter(pl.col("model") < pl.col("model_b"))
    return both.join(questions, on="question_id").select(
        pair_id=pl.concat_str("question_id", "model", "model_b", separator="/"), group_id="question_id",
        prompt="text", text_a="response", text_b="response_b", p_tie=pl.lit(0.0), weight=pl.lit(1.0),
        p_a=(pl.col("worth") > pl.col("worth_b")).cast(pl.Float64),
    )


def winners(pairs: pl.DataFrame, trait: pl.Expr) -> float:
    """Share of pairs whose better text has more of a trait of column `text`; equal ones count half."""
    a, b = (pairs.select(text=f"text_{side}").select(trait.cast(pl.Float64)).to_series() for side in "ab")
    return float(((a - b).sign() * (2 * pairs["p_a"] - 1) / 2 + 0.5).mean())


def test_over_120_prompts_of_over_8_kinds_have_one_response_of_each_quality(
    responses: pl.DataFrame, questions: pl.DataFrame
) -> None:
    assert questions.height >= 120
    assert questions["category"].n_unique() >= 8
    assert questions.group_by("category").len()["len"].min() >= 10
    per_prompt = responses.group_by("question_id").agg(pl.col("quality").sort())
    assert per_prompt["question_id"].sort().to_list() == questions["question_id"].sort().to_list()
    assert per_prompt["quality"].unique().to_list() == [sorted(QUALITY)]


def test_no_prompt_no_response_and_no_id_is_there_twice(responses: pl.DataFrame, questions: pl.DataFrame) -> None:
    assert questions.filter(pl.col("question_id").is_duplicated() | pl.col("text").is_duplicated()).is_empty()
    assert responses.filter(pl.col("response").is_duplicated()).is_empty()
    assert responses.filter(pl.struct("question_id", "model").is_duplicated()).is_empty()


def test_every_quality_has_a_reason_of_its_own(responses: pl.DataFrame) -> None:
    assert responses.filter(pl.col("why").str.count_matches(r"\w+") < 1).is_empty()
    assert responses.filter(pl.struct("question_id", "why").is_duplicated()).is_empty()


def test_the_authors_vote_on_each_of_six_pairs_follows_the_qualities(responses: pl.DataFrame) -> None:
    worth = responses.select("question_id", "model", worth=pl.col("quality").replace_strict(QUALITY))
    votes = pl.read_ndjson(corpus_folder() / "votes.jsonl")
    for side in "ab":
        own = worth.rename({"model": f"model_{side}", "worth": f"worth_{side}"})
        votes = votes.join(own, on=["question_id", f"model_{side}"])
    assert votes.height == 6 * responses["question_id"].n_unique()
    assert votes.select("question_id", "model_a", "model_b").is_duplicated().sum() == 0
    gap = pl.col("worth_a") - pl.col("worth_b")
    assert votes.filter((pl.col("vote") == "a") != (gap > 0)).is_empty()
    assert votes.filter(pl.col("strength") != gap.abs()).is_empty()
    assert 0.4 <= (votes["vote"] == "a").cast(pl.Float64).mean() <= 0.6


@pytest.mark.parametrize(("trait", "low", "high"), [
    ("characters", 0.4, 0.6), ("words", 0.4, 0.6), ("lines", 0.4, 0.6), ("markdown", 0.45, 0.55),
    ("exclamations", 0.4, 0.6), ("colons", 0.4, 0.6),
])
def test_no_shallow_trait_gives_the_better_text_away(pairs: pl.DataFrame, trait: str, low: float, high: float) -> None:
    text = pl.col("text")
    traits = {
        "characters": text.str.len_chars(), "words": text.str.count_matches(r"\S+"),
        "lines": text.str.count_matches("\n"),
        "markdown": text.str.count_matches(r"(?m)^\s*(?:[-*]|\d+\.)\s|\*\*|^#|```"),
        "exclamations": text.str.count_matches("!"), "colons": text.str.count_matches(":"),
    }
    assert low <= winners(pairs, traits[trait]) <= high


@pytest.mark.service
def test_the_truth_agrees_with_every_program_that_can_check_it(responses: pl.DataFrame) -> None:
    frames = convert(read_source(corpus_folder()), source="corpus").frames
    texts = frames["responses"].join(frames["texts"], on="text_id").select("response_id", "prompt_id", response="text")
    prompts = frames["prompts"].join(frames["texts"], on="text_id").select("prompt_id", prompt="text")
    checks = checks_of(example("corpus.toml").judging.verifiers)
    findings = examine(checks, texts.join(prompts, on="prompt_id"), corpus_tags())
    assert findings.filter("is_failure").is_empty()
    told = findings.drop_nulls("is_passed").join(texts, on="response_id").join(responses, on="response").with_columns(
        worth=pl.col("quality").replace_strict(QUALITY))
    spread = told.group_by("question_id", "voter").agg(
        passing=pl.col("worth").filter("is_passed").min(), failing=pl.col("worth").filter(~pl.col("is_passed")).max())
    assert spread.filter(pl.col("passing") <= pl.col("failing"))["question_id"].to_list() == []
    assert spread.drop_nulls()["question_id"].n_unique() >= 60


def test_every_tag_is_read_by_a_verifier_of_the_recipe(questions: pl.DataFrame) -> None:
    slots = [slot for check in checks_of(example("corpus.toml").judging.verifiers) for slot in check.slots]
    assert sorted(slots) == sorted(TAGS) == sorted(set(questions.columns) - {"question_id", "category", "text"})


@pytest.mark.service
def test_the_corpus_holds_no_text_of_the_data_sets(
    responses: pl.DataFrame, questions: pl.DataFrame, real_data: Path
) -> None:
    ours = shingles(pl.concat([responses["response"], questions["text"]]))
    for folder in sorted(f for f in real_data.iterdir() if (f / "README.md").exists() or any(f.glob("*.*"))):
        if folder.name == "LICENSES":
            continue
        theirs = [shingles(column) for frame in read_source(folder).files.values()
                  for column in frame.select(pl.col(pl.String)).iter_columns()]
        assert ours & set().union(*theirs) == set(), folder.name


def shingles(texts: pl.Series) -> set[str]:
    """All runs of LONGEST_SHARED words, in small letters without punctuation."""
    found: set[str] = set()
    for text in texts.drop_nulls().unique():
        words = re.findall(r"\w+", text.lower())
        found.update(" ".join(words[at : at + LONGEST_SHARED]) for at in range(len(words) - LONGEST_SHARED + 1))
    return found


@pytest.mark.service
def test_a_plain_ingest_reads_the_whole_corpus_and_refuses_no_row(store: Store) -> None:
    report = ingest(store, str(corpus_folder()))
    assert (report.source, report.n_rejects) == ("corpus", 0)
    assert report.new | {"votes": 0} == report.new | {"votes": 0, "prompts": 132, "responses": 528, "pairs": 792}
    with Reader(store.workspace.root) as reader:
        kinds = reader.sql("SELECT DISTINCT voter, kind FROM votes JOIN voters USING (voter)").rows()
    assert kinds == [("corpus/author", "human")]


@pytest.mark.service
def test_quality_can_be_learnt_and_shuffled_labels_teach_nothing(pairs: pl.DataFrame) -> None:
    truth = pairs.select("pair_id", is_a=pl.col("p_a") > 0.5)

    def accuracy(comparisons: pl.DataFrame) -> float:
        margins = cross_fit(COMPARISONS.complete(comparisons), Training(panel=("words",)))
        right = margins.join(truth, on="pair_id").select(((pl.col("margin") > 0) == pl.col("is_a")).mean())
        return float(right.item())

    shuffled = [pairs.with_columns(p_a=(uniform_expr(seed, ["pair_id"]) < 0.5).cast(pl.Float64)) for seed in range(3)]
    assert accuracy(pairs) > 0.65
    assert 0.44 <= sum(map(accuracy, shuffled)) / 3 <= 0.56


def test_simulated_voters_of_the_corpus_know_the_authors_word_and_no_other_text(responses: pl.DataFrame) -> None:
    quality = SimulatedWorld(World(corpus=True)).quality
    few = responses.filter(pl.col("question_id") == "facts-02").sort("quality")
    assert few["quality"].to_list() == ["bad", "best", "flawed", "good"]
    assert quality(few["response"]).to_list() == [-1.5, 1.5, -0.5, 0.5]
    assert quality(pl.Series(["a text that nobody wrote"])).to_list() == [FOREIGN]


def test_a_world_over_the_corpus_has_no_policies() -> None:
    with pytest.raises(RecipeError, match="demo corpus"):
        SimulatedWorld(World(corpus=True, policies=(SimulatedPolicy(name="p"),)))


def test_worlds_without_the_corpus_are_written_down_as_before() -> None:
    assert "corpus" not in World().model_dump(mode="json")
    assert World(corpus=True).model_dump(mode="json")["corpus"] is True


def test_both_recipes_hold_the_same_prompts_out() -> None:
    accepted, refused = example("corpus.toml"), example("corpus-refused.toml")
    assert (accepted.seed, accepted.gold, accepted.sources) == (refused.seed, refused.gold, refused.sources)
    assert refused.people.engine == "none"
    assert refused.judging.verifiers == ()
