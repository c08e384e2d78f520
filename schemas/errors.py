"""Every error Tiebreak raises on purpose.

    TiebreakError                 one base to catch
    ├── UserError                 yours: exit 2, one line (seen, expected, next)
    │   ├── InputError            a file, row or argument that cannot be read as meant
    │   ├── RecipeError           a recipe or setting that contradicts itself
    │   ├── WorkspaceError        no workspace, a newer one, or a damaged one
    │   │   └── LockHeldError     another process is writing
    │   ├── RefusedError          asked for something the data does not allow
    │   │   └── SpendLimitError   the money that settings allow is spent; what was answered is recorded
    │   ├── CallFailedError       engines did not answer; what they did answer is recorded
    │   └── PlatformError         an annotation platform refused, failed or holds what we did not put there
    └── InternalError             ours: exit 1, traceback
        ├── ContractError         a frame that breaks its table's contract
        └── CheckError            a warehouse check that returned offending rows
"""


class TiebreakError(Exception):
    """Base of all errors raised on purpose. `str()` is one line: seen, expected, next."""

    exit_code = 1

    def __init__(self, seen: str, *, expected: str = "", next: str = "") -> None:
        self.seen, self.expected, self.next = seen, expected, next
        parts = [seen]
        if expected:
            parts.append(f"expected {expected}")
        if next:
            parts.append(f"next: {next}")
        super().__init__("; ".join(parts))


class UserError(TiebreakError):
    """The caller can mend it; the command line prints one line and exits 2."""

    exit_code = 2


class InputError(UserError):
    """A file, row or argument that cannot be read as meant."""


class RecipeError(UserError):
    """A recipe or a setting that is malformed or contradicts itself."""


class WorkspaceError(UserError):
    """No workspace here, one written by a newer Tiebreak, or a damaged one."""


class LockHeldError(WorkspaceError):
    """Another process holds writer.lock; the message names it."""


class RefusedError(UserError):
    """The data does not allow what was asked (too little evidence, a failed check)."""


class SpendLimitError(RefusedError):
    """The next call could cost more than settings allow. Nothing is lost: raise the limit and run again."""


class CallFailedError(UserError):
    """Some calls got no answer from any endpoint. Those that did are recorded; a next run asks the rest."""


class PlatformError(UserError):
    """An annotation platform refused, failed, or holds what we did not put there. What was read is recorded."""


class InternalError(TiebreakError):
    """A defect of ours; the command line prints the traceback and exits 1."""


class ContractError(InternalError):
    """A frame breaks its table's contract (columns, types, nulls, ranges)."""


class CheckError(InternalError):
    """A check in warehouse/sql/checks returned offending rows."""
