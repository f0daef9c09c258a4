"""How an error becomes the sentence that a job ends with."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from seqrl.config import explain
from seqrl.files import free_bytes, is_disk_full

TRACE_NAME = "trace.txt"
_LONGEST_SENTENCE = 500


def describe(error: BaseException, home: Path) -> str | None:
    """The sentence for a failure that has a remedy; None for a mistake of this program."""
    text = str(error)
    if is_disk_full(error):
        return f"the disk is full ({free_bytes(home) / 1e6:,.0f} MB free at {home}); free some space and start again"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "not enough memory" in text):
        return "the memory of this machine is exhausted; choose a smaller batch, model or dataset"
    if isinstance(error, ValidationError):
        return explain(error)
    if isinstance(error, ValueError | ArithmeticError | OSError) and text:
        return " ".join(text.split())[:_LONGEST_SENTENCE]
    return None


def unexpected(error: BaseException) -> str:
    """The sentence for a mistake of this program."""
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST_SENTENCE]
    return f"unexpected {text}; {TRACE_NAME} in the job's folder shows where"
