"""Plan, Result or error as text, JSON, Markdown or HTML. Pure functions; every value that they print is untrusted.

``render``, ``render_result``, ``render_error`` and ``render_diagnostics`` return whole documents that end in a newline.
``plan_to_json``/``plan_from_json`` are exact inverses; ``saved_plan``/``load_saved`` write and read a saved plan.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypedDict, Unpack

from reconciler.errors import ReconError
from reconciler.model import Diagnostic, Plan, Result
from reconciler.renderers.jsonform import (
    FORMAT_VERSION,
    error_to_json,
    json_text,
    load_saved,
    plan_digest,
    plan_from_json,
    plan_to_json,
    result_to_json,
    saved_pieces,
    saved_plan,
    without_secrets,
)
from reconciler.renderers.markdown import error_markdown, plan_markdown, result_markdown
from reconciler.renderers.text import (
    Style,
    diagnostic_lines,
    draw,
    error_lines,
    plan_lines,
    result_lines,
)
from reconciler.renderers.view import Mode

FORMATS: Final = ("text", "json", "markdown", "html")

__all__ = [
    "FORMATS",
    "load_saved",
    "plan_digest",
    "plan_from_json",
    "plan_to_json",
    "render",
    "render_diagnostics",
    "render_error",
    "render_result",
    "saved_pieces",
    "saved_plan",
]


class TextOptions(TypedDict, total=False):
    """How text is drawn (``text.Style``); the other formats ignore it."""

    color: bool
    width: int | None
    unicode: bool
    verbose: int
    findings: bool


def _unknown(format: str) -> ReconError:
    return ReconError(f"unknown format {format!r}", hint=f"one of {', '.join(FORMATS)}")


def render(plan: Plan, format: str, *, mode: Mode = "plan", **options: Unpack[TextOptions]) -> str:
    """The plan in one of ``FORMATS``.

    Args:   ``mode="drift"`` describes the same values as differences between AWS and the declared state. ``options``
            are those of ``text.Style``: color, width (columns; ``None`` never wraps), unicode, verbose and findings.
    Raises: ReconError for an unknown format.
    """
    if format == "text":
        style = Style(**options)
        return draw(plan_lines(plan, style, mode), style)
    if format == "json":
        return without_secrets(saved_plan(plan))
    if format == "markdown":
        return plan_markdown(plan, mode)
    if format == "html":
        from reconciler.renderers.html import plan_html

        return plan_html(plan, mode)
    raise _unknown(format)


def render_result(result: Result, format: str, **options: Unpack[TextOptions]) -> str:
    """The result of an apply, in one of ``FORMATS``; arguments as for ``render``."""
    if format == "text":
        style = Style(**options)
        return draw(result_lines(result, style), style)
    if format == "json":
        return json_text(result_to_json(result))
    if format == "markdown":
        return result_markdown(result)
    if format == "html":
        from reconciler.renderers.html import result_html

        return result_html(result)
    raise _unknown(format)


def render_error(error: ReconError, format: str, *, plan: Plan | None = None, **options: Unpack[TextOptions]) -> str:
    """An error in one of ``FORMATS``; JSON is one valid object with ``outcome`` and ``diagnostics``.

    ``plan`` is the refused plan, if there is one: the JSON then has its members, too.
    """
    if format == "text":
        style = Style(**options)
        return draw(error_lines(error, style), style)
    if format == "json":
        return json_text(error_to_json(error, plan))
    if format == "markdown":
        return error_markdown(error)
    if format == "html":
        from reconciler.renderers.html import error_html

        return error_html(error)
    raise _unknown(format)


def render_diagnostics(
    diagnostics: Iterable[Diagnostic], format: str, *, outcome: str = "no_changes", **options: Unpack[TextOptions]
) -> str:
    """Diagnostics without a plan (``validate``, ``doctor``), in text or JSON; empty text when there are none."""
    diagnostics = tuple(diagnostics)
    if format == "json":
        return json_text({
            "format_version": FORMAT_VERSION,
            "outcome": outcome,
            "diagnostics": [one.to_json() for one in diagnostics],
        })  # fmt: skip
    if format == "text":
        style = Style(**options)
        return draw(diagnostic_lines(diagnostics, style), style) if diagnostics else ""
    raise _unknown(format)
