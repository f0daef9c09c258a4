"""Text that a page shows as it is."""

from __future__ import annotations

import re

_MARKUP = re.compile(r"([\\`*\[\]$<~])")


def plain(text: str) -> str:
    r"""Text in which Markdown finds nothing: a name in somebody's file must not become a link, or load a picture.

    >>> plain("the archive has '![x](https://example.org/x.png)'")
    "the archive has '!\\[x\\](https://example.org/x.png)'"
    """
    return _MARKUP.sub(r"\\\1", text)
