"""Numbers as people read them: three significant digits, thin spaces between thousands, real minus signs."""

from __future__ import annotations

import math
from collections.abc import Sequence

THIN_SPACE = "\u2009"
MINUS = "\u2212"
NO_VALUE = "–"


def number(value: float | None, digits: int = 3) -> str:
    """A number with that many significant digits; a whole part is never rounded away.

    Args:
        value: any number; None and NaN have no value.
        digits: significant digits, at least 1.

    Returns:
        Text, ``–`` for no value.

    >>> number(23.456), number(12135.4), number(0.00012345), number(-5), number(None)
    ('23.5', '12\u2009135', '0.000123', '−5', '–')
    """
    if value is None or math.isnan(value):
        return NO_VALUE
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    value = float(value)
    if value == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    if decimals > digits + 3 or abs(value) >= 1e9:
        return _power(value, digits)
    text = f"{abs(value):,.{decimals}f}".replace(",", THIN_SPACE)
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return (MINUS if value < 0 else "") + text


def _power(value: float, digits: int) -> str:
    mantissa, exponent = f"{abs(value):.{digits - 1}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{MINUS if value < 0 else ''}{mantissa}{THIN_SPACE}×{THIN_SPACE}10{raised}"


def interval(low: float, high: float, digits: int = 3) -> str:
    """The two ends of an interval, with as many decimals as the larger end needs.

    >>> interval(276.04, 348.5), interval(-12.3, 4.56)
    ('276 … 348', '−12.3 … 4.6')
    """
    if math.isnan(low) or math.isnan(high):
        return NO_VALUE
    largest = max(abs(low), abs(high))
    if largest == 0 or math.isinf(largest):
        return f"{number(low, digits)} … {number(high, digits)}"
    decimals = max(digits - 1 - math.floor(math.log10(largest)), 0)
    ends = (_rounded(value, decimals, digits) for value in (low, high))
    return " … ".join(ends)


def _rounded(value: float, decimals: int, digits: int) -> str:
    rounded = round(value, decimals)
    return number(rounded, max(digits, 1 + math.floor(math.log10(abs(rounded))) + decimals) if rounded else digits)


def averaged(low: float, high: float, episodes: float) -> str:
    """What a hover text says after a mean: its interval, and of how many episodes; a single one has none.

    >>> averaged(10, 15, 4), averaged(math.nan, math.nan, 1)
    ('on average<br>95% interval 10 … 15, 4 episodes', 'in its only episode')
    """
    if episodes < 2:
        return "in its only episode"
    return f"on average<br>95% interval {interval(low, high)}, {count(episodes, 'episode')}"


def with_interval(value: float, low: float, high: float, digits: int = 3) -> str:
    """A mean with its interval, as tables show it.

    >>> with_interval(312.4, 276.04, 348.5)
    '312 (276 … 348)'
    """
    if math.isnan(low) or math.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} ({interval(low, high, digits)})"


def percent(share: float | None) -> str:
    """A share in per cent, without decimals where it is not close to 0 or 100.

    >>> percent(0.304), percent(0.004), percent(1.0)
    ('30%', '0.4%', '100%')
    """
    if share is None or math.isnan(share):
        return NO_VALUE
    return f"{number(100 * share, 1 if abs(share) < 0.01 else 2 if abs(share) < 0.995 else 3)}%"


def duration(seconds: float | None) -> str:
    """A time span in its natural unit.

    >>> duration(0.0123), duration(4.21), duration(83), duration(7300)
    ('12 ms', '4.2 s', '1 min 23 s', '2 h 2 min')
    """
    if seconds is None or math.isnan(seconds):
        return NO_VALUE
    if seconds < 0.9995:
        return f"{number(1000 * seconds, 2)} ms"
    if seconds < 59.5:
        return f"{number(seconds, 2)} s"
    whole = round(seconds)
    if whole < 3600:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, rest = divmod(round(whole / 60), 60)
    return f"{number(hours)} h {rest} min" if rest else f"{number(hours)} h"


def size(bytes_: float) -> str:
    """A file size in decimal units.

    >>> size(812), size(3_100_000)
    ('812 B', '3.1 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if bytes_ < 999.5:
            return f"{number(bytes_, 3 if unit == 'B' else 2)} {unit}"
        bytes_ /= 1000
    return f"{number(bytes_, 2)} TB"


def count(amount: float, noun: str, plural: str | None = None) -> str:
    """A whole number and its noun in the right number.

    >>> count(1, "episode"), count(2000, "episode"), count(0, "policy", "policies")
    ('1 episode', '2\u2009000 episodes', '0 policies')
    """
    word = noun if amount == 1 else plural or f"{noun}s"
    return f"{amount:,.0f} {word}".replace(",", THIN_SPACE)


def enumerate_words(words: Sequence[str]) -> str:
    """Words as a list inside a sentence.

    >>> enumerate_words(["a"]), enumerate_words(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
