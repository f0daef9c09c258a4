"""plotly.js for every chart: served once under a name of its own, which browsers keep."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

import plotly
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_WRAPPED = (b"self : this, () => {", b"\n}));")
"""How plotly.js hands its outermost function over, and how that ends."""

_FOR_A_YEAR = {"Cache-Control": "public, max-age=31536000, immutable"}


@cache
def library() -> bytes:
    """plotly.js as the installed plotly ships it (4.8 MB), with parentheses around its outermost function.

    Browsers take parentheses as a sign that a function is called at once, and compile it while they read it; without
    them they read all of it twice, which takes a third longer.
    """
    code = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_bytes().rstrip()
    begin, end = _WRAPPED
    if code.count(begin) != 1 or not code.endswith(end):
        return code
    return code.removesuffix(end).replace(begin, begin.replace(b"() =>", b"(() =>")) + b"\n})));"


@cache
def packed_library() -> bytes:
    """The same, packed for the way (1.4 MB)."""
    return gzip.compress(library(), 6, mtime=0)


@cache
def library_name() -> str:
    """What it is served as; another plotly has another name, so that no browser keeps an old one."""
    return f"plotly-{hashlib.sha256(library()).hexdigest()[:16]}.js"


def serve(request: Request) -> Response:
    """Hand it to a browser."""
    headers = {**_FOR_A_YEAR, "Vary": "Accept-Encoding"}
    if "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(library(), media_type="text/javascript", headers=headers)
    packed = {**headers, "Content-Encoding": "gzip"}
    return Response(packed_library(), media_type="text/javascript", headers=packed)


def library_route(base: str) -> Route:
    """Where the server has it.

    Args:
        base: ``server.baseUrlPath``, below which Streamlit's own files are.
    """
    prefix = f"/{base.strip('/')}" if base.strip("/") else ""
    return Route(f"{prefix}/{library_name()}", serve)
