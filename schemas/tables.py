"""Every table: one row per what, its key, its columns. `warehouse/sql/migrations` creates the same.

Rows are insert-only, ids are content hashes (`schemas/ids.py`), times are UTC and enter no
fingerprint. Column words are those of the glossary in docs/design/interfaces.md.
"""

from __future__ import annotations

import polars as pl

from schemas.contract import Column, Table

TEXT, COUNT, NUMBER, FLAG = Column(pl.String), Column(pl.Int64, low=0), Column(pl.Float64), Column(pl.Boolean)
TEXT_, COUNT_, NUMBER_, FLAG_ = (
    Column(pl.String, True),
    Column(pl.Int64, True, low=0),
    Column(pl.Float64, True),
    Column(pl.Boolean, True),
)
TIME, TIME_ = Column(pl.Datetime("us", "UTC")), Column(pl.Datetime("us", "UTC"), True)
SHARE, SHARE_ = Column(pl.Float64, low=0, high=1), Column(pl.Float64, True, low=0, high=1)
STRENGTH_ = Column(pl.Float64, True, low=-3, high=3)
MONEY = Column(pl.Float64, low=0)


def words(*allowed: str, is_nullable: bool = False) -> Column:
    """A text column that holds one of a few words."""
    return Column(pl.String, is_nullable, words=allowed)


VOTER_KINDS = ("human", "judge", "reward_model", "verifier", "imported")
GOLD_USES = ("gate", "steer", "calibrate", "attention")
ACTIONS = ("keep", "flip", "soften", "drop")

SOURCES = Table("sources", "origin of data", ("source",), dict(
    source=TEXT, licence=TEXT_, may_redistribute=FLAG_, revision=TEXT_, terms=TEXT_))
TEXTS = Table("texts", "distinct text", ("text_id",), dict(text_id=TEXT, text=TEXT))
PROMPTS = Table("prompts", "prompt", ("prompt_id",), dict(
    prompt_id=TEXT, text_id=TEXT,  # the text is the JSON of its messages [{role, content}]
    source=TEXT, system=TEXT_, category=TEXT_, language=TEXT_, group_id=TEXT,
    near_id=TEXT))  # equal for prompts that differ in case, blanks and punctuation only
# A prompt or pair that two sources hold belongs to both: neither order of arrival nor a third source changes that.
PROMPT_GROUPS = Table("prompt_groups", "group that a source puts a prompt into", ("prompt_id", "group_id"), dict(
    prompt_id=TEXT, group_id=TEXT, near_id=TEXT))
PAIR_SOURCES = Table("pair_sources", "source that holds a pair", ("pair_id", "source"), dict(
    pair_id=TEXT, source=TEXT))
RESPONSES = Table("responses", "response of one author to one prompt", ("response_id",), dict(
    response_id=TEXT, prompt_id=TEXT, text_id=TEXT,
    form=words("text", "messages"),  # messages: the text is JSON of messages, tool calls included
    author=TEXT,  # policy@revision, an upstream item or author id, or '' when unknown
    policy=TEXT_, sampling=TEXT_, logprob_sum=NUMBER_, n_tokens=COUNT_, parent_id=TEXT_, call_key=TEXT_))
PAIRS = Table("pairs", "two responses to one prompt, a < b by id", ("pair_id",), dict(
    pair_id=TEXT, prompt_id=TEXT, response_a=TEXT, response_b=TEXT, origin=TEXT, source=TEXT,
    declared_contrast=TEXT_, pair_seq=COUNT), given=("pair_seq",))
VOTERS = Table("voters", "whoever has an opinion", ("voter",), dict(
    voter=TEXT, kind=words(*VOTER_KINDS), family=TEXT, model=TEXT_, revision=TEXT_,
    cost_usd=MONEY,  # per vote
    is_qualified=FLAG_))
INSTRUMENTS = Table("instruments", "version of a rubric, template or guideline", ("instrument", "version"), dict(
    instrument=TEXT, version=TEXT, text_id=TEXT))
VOTES = Table("votes", "opinion of one voter on one pair in one order", ("vote_id",), dict(
    vote_id=TEXT, seq=COUNT, ballot_id=TEXT, pair_id=TEXT, voter=TEXT,
    p_a=SHARE_, p_tie=SHARE_,  # null exactly when is_abstention
    strength=STRENGTH_, is_abstention=FLAG, n=Column(pl.Int64, low=1),
    shown_first=words("a", "b", is_nullable=True), criterion=TEXT, instrument=TEXT_,
    rationale=TEXT_, evidence=TEXT_, confidence=SHARE_, seconds=NUMBER_, cost_usd=MONEY,
    call_key=TEXT_, external_ref=TEXT_,
    status=words("cast", "retracted", "recorded"),  # recorded: known to replay, not an opinion yet
    supersedes=TEXT_, round_id=TEXT_, voted_at=TIME_), given=("seq",))
RATINGS = Table("ratings", "one voter's number for one attribute of one response", ("rating_id",), dict(
    rating_id=TEXT, response_id=TEXT, voter=TEXT, attribute=TEXT, value=NUMBER, scale_min=NUMBER,
    scale_max=NUMBER, instrument=TEXT_, ballot_id=TEXT_, status=words("cast", "retracted", "recorded")))
SCORES = Table("scores", "one reward model's number for one response", ("response_id", "model", "template"), dict(
    response_id=TEXT, model=TEXT, score=NUMBER, template=TEXT, fold=COUNT_, is_out_of_fold=FLAG))
GOLD = Table("gold", "use of a pair whose truth is known", ("pair_id", "use", "criterion"), dict(
    pair_id=TEXT, criterion=TEXT, p_a=SHARE, p_tie=SHARE, why=TEXT, source=TEXT, use=words(*GOLD_USES),
    added_at=TIME_, retired_at=TIME_))
PROMPT_TAGS = Table("prompt_tags", "tag of one prompt by one tagger", ("prompt_id", "key", "tagger"), dict(
    prompt_id=TEXT, key=TEXT, value=TEXT, tagger=TEXT))
PAIR_TAGS = Table("pair_tags", "tag of one pair by one tagger", ("pair_id", "key", "tagger"), dict(
    pair_id=TEXT, key=TEXT, value=TEXT, tagger=TEXT))
FEATURES = Table("features", "feature set of one text", ("text_id", "feature_set"), dict(
    text_id=TEXT, feature_set=TEXT, shard=TEXT))
ROUNDS = Table("rounds", "round", ("round_id",), dict(
    round_id=TEXT, dataset=TEXT, n=COUNT, recipe_fingerprint=TEXT, recipe=TEXT, parent_n=COUNT_, as_of=COUNT,
    budget_votes=COUNT, budget_usd=NUMBER_, opened_at=TIME))
ROUND_STAGES = Table("round_stages", "finished stage of a round", ("round_id", "stage"), dict(
    round_id=TEXT, stage=TEXT, n_rows=COUNT, as_of=COUNT, finished_at=TIME))
ROUTES = Table("routes", "decision who votes next on a pair", ("route_id",), dict(
    route_id=TEXT, pair_id=TEXT, round_id=TEXT, to=TEXT, ordinal=COUNT, expected_gain=NUMBER, cost_usd=MONEY,
    propensity=Column(pl.Float64, low=0, high=1), is_audit=FLAG, reason=TEXT, features=TEXT))
TASKS = Table("tasks", "pair sent to a person", ("task_key",), dict(
    task_key=TEXT, pair_id=TEXT, route_id=TEXT, round_id=TEXT, queue=TEXT, shown_first=words("a", "b"),
    is_prefilled=FLAG, system=TEXT, external_id=TEXT_, sent_at=TIME, recalled_at=TIME_,
    purpose=words("vote", "gold", "onboarding", "adjudicate", is_nullable=True)))  # null: vote
ANSWERS = Table("answers", "task that came to an end", ("task_key",), dict(
    task_key=TEXT, outcome=words("voted", "skipped", "nothing_to_sell", "recalled"), vote_id=TEXT_, answered_at=TIME))
SUBMISSIONS = Table("submissions", "state of what one person submitted for one task on an annotation platform",
    ("submission", "n"), dict(
    submission=TEXT,  # system/installation/project/id, as the platform names it
    n=COUNT,  # 0 as first seen; the largest n is how it stands
    revision=TEXT,  # content id of what is said; the same said again is no new state
    task_key=TEXT_, pair_id=TEXT_, external_id=TEXT_,  # null: a task that is not ours, or that names no pair of ours
    voter=TEXT_,  # pseudonym of the annotator
    outcome=words("voted", "cannot_judge", "skipped", "deleted", "refused"), vote_id=TEXT_,
    seconds=NUMBER_,  # spent on it, as the platform measured
    is_prefilled=FLAG,  # a pre-annotation was shown, and it began from it
    is_taken_over=FLAG_,  # what was pre-filled came back unchanged
    reason=TEXT_,  # of a refusal: seen, expected
    said_at=TIME_, pulled_at=TIME))
PULLS = Table("pulls", "reading of changes from an annotation platform", ("pull_id",), dict(
    pull_id=TEXT, system=TEXT, project=TEXT, watermark_at=TIME_, n_seen=COUNT, n_new=COUNT, pulled_at=TIME))
LABEL_SETS = Table("label_sets", "settling of one recipe over votes up to a moment", ("label_set",), dict(
    label_set=TEXT, dataset=TEXT, parent=TEXT_, recipe_fingerprint=TEXT, as_of=COUNT, round_id=TEXT_, settled_at=TIME))
LABELS = Table("labels", "outcome of a pair in a label set, where it differs from the parent",
    ("label_set", "pair_id"), dict(
    label_set=TEXT, pair_id=TEXT, p_a=SHARE, p_tie=SHARE, p_sd=NUMBER, strength=STRENGTH_, n_votes=COUNT,
    action=words(*ACTIONS), reason=TEXT, weight=SHARE))
VOTER_FITS = Table("voter_fits", "one voter in one fit", ("label_set", "voter", "criterion"), dict(
    label_set=TEXT, voter=TEXT, criterion=TEXT, n_votes=COUNT, skill=NUMBER, skill_low=NUMBER_, skill_high=NUMBER_,
    order_bias=NUMBER_, tie_width=NUMBER_, calibration=NUMBER_))
VERSIONS = Table("versions", "dataset version", ("dataset", "n"), dict(
    dataset=TEXT, n=COUNT, parent_n=COUNT_, label_set=TEXT, round_id=TEXT_, recipe_fingerprint=TEXT, recipe=TEXT,
    as_of=COUNT, n_pairs=COUNT, counts=TEXT, fingerprint=TEXT, code_commit=TEXT, released_at=TIME))
VERSION_BASES = Table("version_bases", "label of a pair in a version stored whole", ("dataset", "n", "pair_id"), dict(
    dataset=TEXT, n=COUNT, pair_id=TEXT, p_a=SHARE, p_tie=SHARE, p_sd=NUMBER, strength=STRENGTH_, n_votes=COUNT,
    action=words(*ACTIONS), reason=TEXT, weight=SHARE))
VERSION_TAGS = Table("version_tags", "move of a tag to a version", ("dataset", "tag", "moved_at"), dict(
    dataset=TEXT, tag=TEXT, n=COUNT, moved_at=TIME))
MODELS = Table("models", "reward model", ("model",), dict(
    model=TEXT, kind=TEXT, family=TEXT, base=TEXT_, dataset=TEXT, trained_on=COUNT, round_id=TEXT_, uri=TEXT,
    sha256=TEXT, config=TEXT, n_pairs=COUNT, trained_at=TIME))
EVALUATIONS = Table("evaluations", "metric of one model on one revision of one set", (
    "model", "metric", "set", "set_revision"), dict(
    model=TEXT, metric=TEXT, set=TEXT, set_revision=TEXT, value=NUMBER, n=COUNT, n_groups=COUNT, low=NUMBER_,
    high=NUMBER_, is_descriptive=FLAG))
PROMOTIONS = Table("promotions", "gate decision", ("round_id",), dict(
    round_id=TEXT, candidate=TEXT, incumbent=TEXT, verdict=words("promoted", "refused", "undecided"), reason=TEXT,
    d=NUMBER, low=NUMBER_, high=NUMBER_, n_pairs=COUNT, n_groups=COUNT, n_looks=COUNT, n_pairs_needed=COUNT_,
    decided_at=TIME))
CALLS = Table("calls", "request to a model", ("call_key",), dict(
    call_key=TEXT, kind=words("generate", "judge", "score", "embed", "likelihood"), voter=TEXT, template=TEXT,
    subject=TEXT, parameters=TEXT, response=TEXT, finish_reason=TEXT, choice_logprobs=TEXT_, prompt_tokens=COUNT,
    output_tokens=COUNT, seconds=NUMBER, cost_usd=MONEY, round_id=TEXT_, worker=TEXT, called_at=TIME,
    logprob_sum=NUMBER_))  # natural log probability of the response under the policy that wrote it
EXAMS = Table("exams", "result of one judge in one domain of one examination", (
    "voter", "instrument", "exam", "domain"), dict(
    voter=TEXT, instrument=TEXT,
    exam=TEXT,  # content id of the questions and thresholds: another gold set is another examination
    domain=TEXT,  # a category of prompts, "all", or a probe (empty, punctuation, opener, injection, position, padding)
    metric=words("accuracy", "fooled"), value=SHARE, low=SHARE, high=SHARE, n=COUNT, n_groups=COUNT, flip_rate=SHARE_,
    first_rate=SHARE_, failure_rate=SHARE, threshold=SHARE_, is_passed=FLAG, examined_at=TIME))
POLICIES = Table("policies", "who writes responses", ("policy",), dict(
    policy=TEXT, model=TEXT, revision=TEXT_, system=TEXT_, licence=TEXT_, may_redistribute=FLAG_))
RUBRICS = Table("rubrics", "rubric, checklist, principle, reference or attribute list written for a prompt or pair",
    ("rubric_id",), dict(
    rubric_id=TEXT, kind=words("rubric", "checklist", "principles", "reference", "attributes"), prompt_id=TEXT,
    pair_id=TEXT_, text_id=TEXT, author=TEXT, call_key=TEXT_, is_accepted=FLAG, reason=TEXT, round_id=TEXT_))
DISCARDS = Table("discards", "prompt, response or pair left out by a stage", ("discard_id",), dict(
    discard_id=TEXT, what=words("prompt", "response", "pair"), row_id=TEXT, stage=TEXT, reason=TEXT, detail=TEXT_,
    round_id=TEXT_))
REJECTS = Table("rejects", "refused input row", ("reject_id",), dict(
    reject_id=TEXT, source=TEXT, file=TEXT, row=COUNT, column=TEXT, seen=TEXT, expected=TEXT))
TOMBSTONES = Table("tombstones", "text or voter that was erased", ("what", "row_id"), dict(
    what=words("text", "voter"),
    row_id=TEXT,  # the text's id, or the name that stands for the voter since
    salt=TEXT_,  # with the voter's name it gives `row_id`, so that the name is known when it comes back
    reason=TEXT, n_rows=COUNT,
    versions=TEXT,  # JSON list of the versions that held it
    erased_at=TIME))
RUNS = Table("runs", "beginning or end of an execution of a flow", ("run_id", "event"), dict(
    run_id=TEXT, flow=TEXT, event=words("started", "finished", "failed"), round_id=TEXT_, detail=TEXT_, at=TIME))

TABLES: dict[str, Table] = {t.name: t for t in (
    SOURCES, TEXTS, PROMPTS, PROMPT_GROUPS, RESPONSES, PAIRS, PAIR_SOURCES, VOTERS, INSTRUMENTS, VOTES, RATINGS,
    SCORES, GOLD, PROMPT_TAGS,
    PAIR_TAGS, FEATURES, ROUNDS, ROUND_STAGES, ROUTES, TASKS, ANSWERS, LABEL_SETS, LABELS, VOTER_FITS, VERSIONS,
    VERSION_BASES, VERSION_TAGS, MODELS, EVALUATIONS, PROMOTIONS, CALLS, EXAMS, POLICIES, RUBRICS, DISCARDS,
    SUBMISSIONS, PULLS, REJECTS, TOMBSTONES, RUNS)}

# Frames that pass between functions and are never stored.
EVIDENCE = Table("evidence", "one voter's opinion on one pair, both orders of a judge folded",
    ("pair_id", "voter", "criterion", "ballot_id"), dict(
    pair_id=TEXT, voter=TEXT, criterion=TEXT, ballot_id=TEXT, kind=words(*VOTER_KINDS), family=TEXT,
    p_a=SHARE_, p_tie=SHARE_, is_abstention=FLAG, is_flipped=FLAG_, weight=Column(pl.Float64, low=0)))
POSTERIORS = Table("posteriors", "pair after consensus", ("pair_id",), dict(
    pair_id=TEXT, p_a=SHARE, p_tie=SHARE, p_sd=NUMBER, n_votes=COUNT, n_human=COUNT))
MARGINS = Table("margins", "score of a minus score of b by one cross-fitted scorer", ("pair_id", "scorer"), dict(
    pair_id=TEXT, scorer=TEXT, margin=NUMBER, is_out_of_fold=FLAG))
COMPARISONS = Table("comparisons", "pair as a reward model trains on it or is measured on it", ("pair_id",), dict(
    pair_id=TEXT, group_id=TEXT, prompt=TEXT, text_a=TEXT, text_b=TEXT, p_a=SHARE, p_tie=SHARE,
    weight=Column(pl.Float64, low=0)))
LESSONS = Table("lessons", "labelled pair as a language model trains on it", ("pair_id",), dict(
    pair_id=TEXT, group_id=TEXT,
    messages=TEXT,  # JSON of the prompt's messages [{role, content}], system first where there is one
    text_a=TEXT, text_b=TEXT, p_a=SHARE, p_tie=SHARE, strength=STRENGTH_, weight=Column(pl.Float64, low=0)))
READINGS = Table("readings", "response that a language model gives a reward", ("response_id",), dict(
    response_id=TEXT, messages=TEXT))  # JSON of messages, the last one the assistant's
CANDIDATES = Table("candidates", "pair that a person could be asked about", ("pair_id",), dict(
    pair_id=TEXT, group_id=TEXT, p_a=SHARE, p_tie=SHARE, p_sd=NUMBER, n_votes=COUNT, n_human=COUNT,
    judge_spread=NUMBER, flip_share=SHARE, margin=NUMBER_, margin_spread=NUMBER_, length_a=COUNT, length_b=COUNT,
    overlap=SHARE, n_buyable=COUNT_,
    p_wrong=SHARE_,  # learned chance that the label is wrong; null: the posterior is all that is known
    judges_a=SHARE_, judges_tie=SHARE_,  # mean opinion of voters that are not people; null: none had one
    source=TEXT_, novelty=NUMBER_, cluster=TEXT_))  # cluster: pairs of near-identical responses; null: on its own
CARDS = Table("cards", "task as it is put before a person", ("task_key",), dict(
    task_key=TEXT, pair_id=TEXT, queue=TEXT, shown_first=words("a", "b"),
    prompt=TEXT,  # JSON of messages [{role, content}]
    system=TEXT_, text_first=TEXT, text_second=TEXT, guideline=TEXT_,  # Markdown for this item; null: the queue's own
    prefill=STRENGTH_,  # 3: the first is much better, -3: the second; null: blind
    prefill_by=TEXT_, prefill_score=SHARE_, purpose=words("vote", "gold", "onboarding", "adjudicate")))
PULLED = Table("pulled_submissions", "submission as a platform gives it, or its absence", ("submission",), dict(
    submission=TEXT, external_id=TEXT, task_key=TEXT_, user=TEXT_,  # the platform's own id of a person, never a name
    result=TEXT_,  # raw JSON; null: deleted
    is_skipped=FLAG, is_deleted=FLAG, is_from_prediction=FLAG, seconds=NUMBER_, said_at=TIME_))
