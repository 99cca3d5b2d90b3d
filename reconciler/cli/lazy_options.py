"""Values of the command line that need no conversion, without the library that typer converts the others with.

typer (0.29) hands every value of every option to pydantic, a text where a text is wanted, too; importing that takes as
long as all of `recon validate` of a small state. A value that already is what its option declares is handed on as it
is; any other goes typer's way.
"""

from __future__ import annotations

from typing import Any


def lazy_options(command: Any) -> None:
    """Give each parameter of a typer command, its subcommands included, the short way. Does nothing to a typer that has
    no such conversion."""
    for sub in getattr(command, "commands", {}).values():
        lazy_options(sub)
    for parameter in command.params:
        _shorten(parameter)
    made = command.get_help_option  # it is made when a command line is read

    def get_help_option(context: Any) -> Any:
        option = made(context)
        _shorten(option)
        return option

    command.get_help_option = get_help_option


def _shorten(parameter: Any) -> None:
    descriptor = getattr(parameter, "type_descriptor", None)
    if descriptor is not None and getattr(parameter, "_runtime_param", parameter) is None:
        parameter._runtime_param = Short(descriptor)


class Short:
    """What typer calls a RuntimeParam: converts one value; the real one is made when it is needed."""

    def __init__(self, descriptor: Any) -> None:
        self.descriptor = descriptor
        self.real: Any = None

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """``value`` as the command's function takes it. Raises what typer raises for a bad one."""
        if self.real is None:
            if value is None and (param.multiple or param.nargs == -1):
                return ()
            if self._fits(value, param):
                return value
            from typer._coercion import build_runtime_param

            self.real = build_runtime_param(self.descriptor)
        return self.real.coerce(value, param=param, ctx=ctx)

    def _fits(self, value: Any, param: Any) -> bool:
        wanted = self.descriptor.annotation
        if value is None:
            return True
        if param.multiple or param.nargs == -1:
            return False
        info = self.descriptor.parameter_info
        if any(getattr(info, name, None) is not None for name in ("parser", "click_type")):
            return False
        if wanted not in (str, int, float) or type(value) is not wanted:
            return False
        least, most = getattr(info, "min", None), getattr(info, "max", None)
        return (least is None or value >= least) and (most is None or value <= most)
