"""What a value that comes from a file must be: a saved plan must fit the shapes that its kinds give."""

from __future__ import annotations

from typing import Any

Shape = Any
"""What a value must be: a type, None, True, a tuple of alternatives, ``[shape]`` for a list of it, or ``{key: shape}``
for a document that has these keys (``key?`` may be left out) and may have others; ``*`` is the shape of the others."""
TEXT_MAP: Shape = {"*": (str, None)}
TEXTS: Shape = ([str], None)


def must_fit(value: Any, shape: Shape, path: str) -> None:
    """Raise TypeError naming the first place where ``value``, which may come from a file, is not of ``shape``."""
    if isinstance(shape, tuple):
        for one in shape:
            try:
                return must_fit(value, one, path)
            except TypeError:
                continue
        raise TypeError(f"{path} is not one of what it may be")
    if shape is True:
        if value is not True:
            raise TypeError(f"{path} is not true")
        return None
    if shape is None or isinstance(shape, type):
        truth = isinstance(value, bool) and shape is not bool
        if (value is not None) if shape is None else (truth or not isinstance(value, shape)):
            raise TypeError(f"{path} is not {f'a {shape.__name__}' if shape else 'null'}")
        return None
    if isinstance(shape, list):
        must_fit(value, (list, tuple), path)
        for number, item in enumerate(value):
            must_fit(item, shape[0], f"{path}[{number}]")
        return None
    must_fit(value, dict, path)
    for key, one in shape.items():
        name = key.removesuffix("?")
        if name in value and key != "*":
            must_fit(value[name], one, f"{path}.{name}")
        elif name not in value and key == name != "*":
            raise TypeError(f"{path} lacks {name}")
    for name in value.keys() - {key.removesuffix("?") for key in shape} if "*" in shape else ():
        must_fit(name, str, path)
        must_fit(value[name], shape["*"], f"{path}.{name}")
    return None
