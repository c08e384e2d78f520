"""The language verifier: by script, and by the commonest words where scripts are shared.

A rough instrument without a model: it knows the languages listed here and says so when it cannot tell.
"""

from __future__ import annotations

import json
import re
from collections import Counter

from curate.verifying.contract import Finding
from schemas.errors import RecipeError

SCRIPTS: dict[str, str] = {
    "kana": "\u3040-\u30ff", "han": "\u3400-\u4dbf\u4e00-\u9fff", "hangul": "\uac00-\ud7af",
    "cyrillic": "\u0400-\u04ff", "arabic": "\u0600-\u06ff", "hebrew": "\u0590-\u05ff",
    "devanagari": "\u0900-\u097f", "greek": "\u0370-\u03ff", "thai": "\u0e00-\u0e7f", "latin": "A-Za-z\u00c0-\u024f",
}
"""script → range of its characters"""
LANGUAGE_OF = {
    "kana": "ja", "han": "zh", "hangul": "ko", "hebrew": "he", "devanagari": "hi", "greek": "el", "thai": "th",
}
"""scripts that are one language here; Arabic and Cyrillic are told apart by letters, Latin by words"""
STOPWORDS = {
    "en": "the and of to is in that it for with as was are this be on you not have from",
    "de": "der die das und ist nicht ein eine zu mit den von für auf sich dem auch wie es im",
    "fr": "le la les et est des une dans que pour pas qui sur avec du au ce il sont vous",
    "es": "el la los las y es que una por con para del se no en su como más al lo",
    "it": "il la che di e è un una per non con del della sono i le si da come gli",
    "pt": "o a os as e é que um uma para com não do da em no na se por mais",
    "nl": "de het een en van is dat niet op te zijn voor met die aan er maar om ook als",
}
KNOWN = sorted({*LANGUAGE_OF.values(), *STOPWORDS, "ru", "uk", "ar", "fa"})
FEWEST_LETTERS = 10
_FENCE = re.compile(r"```[^`]*```")
_LETTER = {name: re.compile(f"[{characters}]") for name, characters in SCRIPTS.items()}
_WORDS = {language: frozenset(words.split()) for language, words in STOPWORDS.items()}
_UKRAINIAN, _RUSSIAN, _PERSIAN = frozenset("іїєґ"), frozenset("ыэъё"), frozenset("پچژگ")


class Language:
    """`language:en`, or `language:prompt` for the language of the prompt's last message."""

    name = "language"

    def verify(self, prompt: str, response: str, argument: str) -> Finding:
        """Passes in the wanted language; cannot tell for short or mixed texts. Raises RecipeError for unknown ones."""
        if argument not in (*KNOWN, "prompt"):
            raise RecipeError(
                f"verifier language: {argument!r}", expected=f"prompt, or one of {KNOWN}", next="edit judging.verifiers"
            )
        wanted = language_of(_last_content(prompt))[0] if argument == "prompt" else argument
        seen, confidence = language_of(response)
        if wanted is None or seen is None:
            return Finding(None, 0.0, f"the language of the {'prompt' if wanted is None else 'response'} is not clear")
        return Finding(seen == wanted, confidence, f"{seen} where {wanted} is asked")


def language_of(text: str) -> tuple[str | None, float]:
    """(language, share of the letters or known words that say so); (None, 0) when it is not clear. Code is left out."""
    prose = _FENCE.sub(" ", text)
    counts = {name: len(letter.findall(prose)) for name, letter in _LETTER.items()}
    n_letters = sum(counts.values())
    script = max(counts, key=counts.__getitem__)
    if counts["kana"] and counts["han"] + counts["kana"] > n_letters / 2:
        return "ja", (counts["han"] + counts["kana"]) / n_letters
    needed = 2 if script in ("han", "hangul") else FEWEST_LETTERS  # one sign of these is a syllable or a word
    if n_letters < needed or counts[script] <= n_letters / 2:
        return None, 0.0
    share = counts[script] / n_letters
    if script in LANGUAGE_OF:
        return LANGUAGE_OF[script], share
    return _by_words(prose) if script == "latin" else _by_letters(prose.lower(), script, share)


def _by_letters(prose: str, script: str, share: float) -> tuple[str | None, float]:
    letters = set(prose)
    if script == "arabic":
        return ("fa" if letters & _PERSIAN else "ar"), share
    if bool(letters & _UKRAINIAN) == bool(letters & _RUSSIAN):
        return None, 0.0
    return ("uk" if letters & _UKRAINIAN else "ru"), share


def _by_words(prose: str) -> tuple[str | None, float]:
    words = Counter(re.findall(r"[^\W\d_]+", prose.lower()))
    hits = {language: sum(words[word] for word in known) for language, known in _WORDS.items()}
    best, second = sorted(hits, key=lambda language: (-hits[language], language))[:2]
    if hits[best] < 2 or hits[best] == hits[second]:
        return None, 0.0
    return best, hits[best] / (hits[best] + hits[second])


def _last_content(prompt: str) -> str:
    """Content of the last message, or the text itself when it is no JSON of messages."""
    try:
        content = json.loads(prompt)[-1]["content"]
    except (ValueError, LookupError, TypeError):
        return prompt
    return content if isinstance(content, str) else prompt
