"""What may go wrong with the store, and what is worth repeating."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError


class StoreError(Exception):
    """The store cannot be opened or used. The message is one sentence for the operator."""


class Conflict(Exception):
    """Raised by a store function that met another process's row: on PostgreSQL the transaction is repeated."""


def is_conflict(error: BaseException) -> bool:
    """Whether two processes met in this transaction: it is the store's to repeat, and nobody's fault."""
    return isinstance(error, Conflict) or (isinstance(error, DBAPIError) and worth_repeating(error, 1))


def worth_repeating(error: DBAPIError | Conflict, attempt: int) -> bool:
    """Two processes met: a serialisation failure, a deadlock, or both inserted the same key."""
    if isinstance(error, Conflict):
        return True
    code = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None) or ""
    return code in {"40001", "40P01"} or (code == "23505" and attempt < 3)


def cause(error: BaseException) -> str:
    """What the driver said, in one line."""
    orig = getattr(error, "orig", None)
    return str(orig or error).splitlines()[0]
