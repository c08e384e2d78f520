"""The labelling page of a queue, as the XML configuration of Label Studio; pure, so that equal pages are equal bytes.

A page knows "first" and "second" only: which response stands where is decided before a card is made. One control
holds the verdict, seven steps and "cannot judge": a single choice cannot contradict itself, and "required" means
one of the eight (`Pairwise` has no tie and submits nothing where nobody clicked). Texts of others reach the page
through `Header` tags, which React writes as text nodes: of Label Studio's tags, `HyperText` and `Markdown` render
HTML, and `Text` escapes only under a feature flag of the server.
"""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files
from xml.sax.saxutils import quoteattr

from curate.engines import Page
from schemas.errors import InputError

VERDICT, WHY, OBJECT = "verdict", "why", "pair"
"""names (`from_name`) of the verdict and the reason; `to_name` of all"""
CANNOT_JUDGE = "cannot_judge"
STEPS: tuple[tuple[str, str, str], ...] = (
    ("3", "First much better", "1"), ("2", "First better", "2"), ("1", "First slightly better", "3"),
    ("0", "About the same", "4"),
    ("-1", "Second slightly better", "5"), ("-2", "Second better", "6"), ("-3", "Second much better", "7"),
    (CANNOT_JUDGE, "Cannot judge", "0"),
)
"""(alias that comes back, words, key): strength of the first response in -3..3, as HelpSteer2-Preference asks it
(Wang et al. 2024)"""
SLOTS = ("first", "second")
MAX_RATING = 5
RATING_KEYS = {"first": "qwert", "second": "asdfg"}
"""keys of the first five attributes: each press is one star more, after five none"""
_ATTRIBUTE = re.compile(r"[a-z][a-z_]{0,31}")
_VERSION = re.compile(r'idAttr="tiebreak-page-([0-9a-f]{16})"')
_JOINER = "\u2060"
"""invisible, and no letter: parts a "$" or "<" from what would make it a variable of the task, or a tag"""


def label_config(page: Page) -> str:
    """XML of the page. Raises InputError for an attribute or text that it cannot hold."""
    return _config(page, page_version(page))


def page_version(page: Page) -> str:
    """16 hex digits of what the page looks like and asks: another program or queue shows another version."""
    return hashlib.sha256(_config(page, "").encode()).hexdigest()[:16]


def version_in(config: str) -> str | None:
    """The version that a configuration says it has; None for one that is not ours. It may have been edited since."""
    named = _VERSION.search(config)
    return named[1] if named else None


def project_options(page: Page) -> dict[str, str | int | bool]:
    """Settings of a Label Studio project that go with the page: overlap, blindness, what is shown and skipped."""
    return {
        "label_config": label_config(page),
        "maximum_annotations": page.overlap,
        "show_collab_predictions": not page.is_blind,
        "evaluate_predictions_automatically": False,
        "enable_empty_annotation": False,
        "show_annotation_history": False,
        "show_skip_button": True,
        "skip_queue": "IGNORE_SKIPPED",
        "sampling": "Sequential sampling",
    }


def rating_name(attribute: str, slot: str) -> str:
    """`from_name` of the rating of one attribute of the response in one slot, "first" or "second"."""
    return f"rate_{slot}_{attribute}"


def _config(page: Page, version: str) -> str:
    _check(page)
    blocks = [
        f'<View className="tb" idAttr="tiebreak-page-{version}">',
        f"<Style>{_style()}</Style>",
        '<View className="tb-object">', f'<Text name="{OBJECT}" value="$pair_id"/>', "</View>",
        *_guideline(page.guideline),
        *_parts("guideline", "tb-item", with_role=True),
        *_parts("conversation", "tb-conversation", with_role=True),
        '<View className="tb-sides">', *_side("first", page), *_side("second", page), "</View>",
        '<View className="tb-answer">', *_verdict(), *(_why() if page.asks_why else ()), "</View>",
        "</View>",
    ]
    return "\n".join(blocks) + "\n"


def _guideline(text: str) -> list[str]:
    """A closed panel. Markdown is rendered, HTML and variables in it are not."""
    body = re.sub(r"([$<])(?=\S)", rf"\1{_JOINER}", text).replace("]]>", f"]]{_JOINER}>")
    if not text.strip():
        return []
    return [
        '<View className="tb-guideline">', "<Collapse>", '<Panel value="Guideline">', "<View>",
        f"<Markdown><![CDATA[\n{body.strip()}\n]]></Markdown>", "</View>", "</Panel>", "</Collapse>", "</View>",
    ]


def _parts(variable: str, name: str, *, with_role: bool = False) -> list[str]:
    """A list of parts, one below the other: who speaks, prose, code. Empty ones take no room."""
    kinds = (["role"] if with_role else []) + ["prose", "code"]
    shown = [
        f'<View className="tb-{kind}"><Header value="${variable}[{{{{idx}}}}].{kind}"/></View>' for kind in kinds
    ]
    return [f'<View className="tb-texts {name}">', f'<Repeater on="${variable}">', *shown, "</Repeater>", "</View>"]


def _side(slot: str, page: Page) -> list[str]:
    """One response under its heading, with its ratings below it."""
    rated = [line for at, attribute in enumerate(page.attributes) for line in _rating(slot, attribute, at)]
    ratings = ['<View className="tb-ratings">', *rated, "</View>"] if rated else []
    heading = f'<View className="tb-heading"><Header value="{slot.capitalize()}"/></View>'
    return [f'<View className="tb-side tb-{slot}">', heading, *_parts(slot, "tb-response"), *ratings, "</View>"]


def _rating(slot: str, attribute: str, at: int) -> list[str]:
    keys = RATING_KEYS[slot]
    hotkey = f' hotkey="{keys[at]}"' if at < len(keys) else ""
    words = attribute.replace("_", " ").capitalize()
    return [
        '<View className="tb-rating">', f'<Header value="{words}"/>',
        f'<Rating name="{rating_name(attribute, slot)}" toName="{OBJECT}" maxRating="{MAX_RATING}" size="small"'
        f"{hotkey}/>",
        "</View>",
    ]


def _verdict() -> list[str]:
    steps = [
        f"<Choice alias={quoteattr(alias)} value={quoteattr(words)} hotkey={quoteattr(key)}/>"
        for alias, words, key in STEPS
    ]
    asked = 'choice="single-radio" layout="inline" required="true"'
    message = "Say which response is better, that they are about the same, or that you cannot judge."
    return [
        '<View className="tb-verdict">',
        f'<Choices name="{VERDICT}" toName="{OBJECT}" {asked} requiredMessage="{message}">', *steps, "</Choices>",
        "</View>",
    ]


def _why() -> list[str]:
    return [
        '<View className="tb-why">',
        f'<TextArea name="{WHY}" toName="{OBJECT}" rows="1" maxSubmissions="1" editable="true" '
        'placeholder="Why? What decided it (optional)"/>',
        "</View>",
    ]


def _style() -> str:
    """Our style sheet. Label Studio takes it for HTML: a quote, "<", ">" or "&" in it would arrive as an entity."""
    return (files("curate.annotating") / "page.css").read_text(encoding="utf-8")


def _check(page: Page) -> None:
    odd = [name for name in page.attributes if not _ATTRIBUTE.fullmatch(name)]
    if odd or len(set(page.attributes)) < len(page.attributes):
        raise InputError(
            f"attributes {list(page.attributes)}", next=f"rename or remove {odd or 'the repeated one'}",
            expected="each once, small letters and _, 32 at most, a letter first",
        )
    if page.overlap < 1:
        raise InputError(f"overlap = {page.overlap}", expected="1 or more", next="ask at least one person per task")
    if _NOT_XML.search(page.guideline):
        raise InputError(
            "a guideline with control characters or halves of surrogates", expected="text that XML can hold",
            next="save the guideline as plain UTF-8",
        )


_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
