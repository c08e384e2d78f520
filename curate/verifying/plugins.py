"""Which verifiers there are: our own, and those that installed packages announce.

A package announces one in its pyproject.toml, by the name that recipes use:

    [project.entry-points."tiebreak.verifiers"]
    rhymes = "poetry_checks:Rhymes"        # a class to be called without arguments, or an object

Only those that a recipe names are imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from curate.verifying.answers import ExactAnswer, Json, NumericAnswer
from curate.verifying.code import Code
from curate.verifying.contract import Check, Verifier
from curate.verifying.language import Language
from curate.verifying.text import Format, Length, MustMention, Regex
from schemas.errors import RecipeError

GROUP = "tiebreak.verifiers"
BUILT_IN: Mapping[str, Verifier] = {
    v.name: v for v in (Length(), Format(), Json(), Regex(), MustMention(), ExactAnswer(), NumericAnswer(), Code(),
                        Language())
}
OWN_VERSION = "1"
"""raised when one of ours begins to say otherwise: its votes are cast anew"""


def announced() -> dict[str, EntryPoint]:
    """Plug-ins by name. Raises RecipeError when two packages, or one and we, use the same name."""
    found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))
    names = [entry.name for entry in found]
    twice = sorted({name for name in names if names.count(name) > 1 or name in BUILT_IN})
    if twice:
        raise RecipeError(
            f"verifiers {twice} are announced twice", expected="each name once", next="uninstall one of the packages"
        )
    return {entry.name: entry for entry in found}


def described() -> dict[str, str]:
    """Name of every verifier to a line about it; plug-ins are named with their package and not imported."""
    ours = {name: (type(verifier).__doc__ or "").partition("\n")[0] for name, verifier in BUILT_IN.items()}
    theirs = {name: f"of {_version(entry)} ({entry.value})" for name, entry in announced().items()}
    return dict(sorted({**ours, **theirs}.items()))


def checks_of(specs: Sequence[str]) -> tuple[Check, ...]:
    """The checks that `judging.verifiers` of a recipe names, in its order.

    `name`, `name:argument`, each with `!` at its very end for a hard constraint (an argument that ends in `!`
    itself is followed by `%21`). Raises RecipeError for an unknown name, a plug-in that does not load, or a
    check named twice.
    """
    checks = tuple(_check(spec) for spec in specs)
    voters = [check.voter for check in checks]
    twice = sorted({voter for voter in voters if voters.count(voter) > 1})
    if twice:
        raise RecipeError(f"judging.verifiers names {twice} twice", expected="each once", next="remove one")
    return checks


def _check(spec: str) -> Check:
    is_hard = spec.rstrip().endswith("!")
    name, _, argument = spec.rstrip().removesuffix("!").partition(":")
    name = name.strip()
    if name in BUILT_IN:
        return Check(BUILT_IN[name], argument.strip(), is_hard, OWN_VERSION)
    plug_ins = announced()
    if name not in plug_ins:
        raise RecipeError(
            f"verifier {name!r}", expected=f"one of {sorted([*BUILT_IN, *plug_ins])}",
            next="correct judging.verifiers, or install the package that brings it",
        )
    return Check(_loaded(plug_ins[name]), argument.strip(), is_hard, _version(plug_ins[name]))


def _loaded(entry: EntryPoint) -> Verifier:
    try:
        made = entry.load()
        verifier = made() if isinstance(made, type) else made
    except Exception as error:
        raise RecipeError(
            f"verifier {entry.name} ({entry.value}) does not load: {type(error).__name__}: {error}"[:300],
            expected="a class to be called without arguments, or an object", next="mend or uninstall the package",
        ) from error
    if getattr(verifier, "name", None) != entry.name or not callable(getattr(verifier, "verify", None)):
        raise RecipeError(
            f"verifier {entry.name} ({entry.value})", expected=f"name = {entry.name!r} and a method verify",
            next="mend the package",
        )
    return cast("Verifier", verifier)


def _version(entry: EntryPoint) -> str:
    return f"{entry.dist.name}-{entry.dist.version}" if entry.dist else "unknown"
