"""Skips typer's conversion of command line values that need none, so that pydantic is not imported.

typer (0.29) passes the value of every option to pydantic, even a string for a string; importing pydantic takes as long
as all of `recon validate` of a small state. Here a value that already has the type of its option is used as it is;
typer converts the others.
"""

from __future__ import annotations

from typing import Any


def lazy_options(command: Any) -> None:
    """Make the parameters of a typer command and its subcommands lazy. Does nothing if typer has no such conversion."""
    for subcommand in getattr(command, "commands", {}).values():
        lazy_options(subcommand)
    for parameter in command.params:
        _make_lazy(parameter)
    original = command.get_help_option  # typer creates this option when it parses a command line

    def get_help_option(context: Any) -> Any:
        option = original(context)
        _make_lazy(option)
        return option

    command.get_help_option = get_help_option


def _make_lazy(parameter: Any) -> None:
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is not None and getattr(parameter, "_runtime_param", parameter) is None:
        parameter._runtime_param = LazyParam(descriptor)


class LazyParam:
    """Replaces typer's RuntimeParam, which converts one value; creates the real one only when it is needed."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.real: Any = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """``value`` converted for the command's function. Raises typer's error for an invalid one."""
        if self.real is None:
            if value is None and (param.multiple or param.nargs == -1):
                return ()
            if self._fits(value, param):
                return value
            from typer._coercion import build_runtime_param

            self.real = build_runtime_param(self.descriptor)
        return self.real.coerce(value, param=param, ctx=ctx)

    def _fits(self, value: Any, param: Any) -> bool:
        expected = self.descriptor.annotation
        if value is None:
            return True
        if param.multiple or param.nargs == -1:
            return False
        info = self.descriptor.parameter_info
        if any(getattr(info, name, None) is not None for name in ("parser", "click_type")):
            return False
        if expected not in (str, int, float) or type(value) is not expected:
            return False
        minimum, maximum = getattr(info, "min", None), getattr(info, "max", None)
        return (minimum is None or value >= minimum) and (maximum is None or value <= maximum)
