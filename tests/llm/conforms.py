"""Whether a value is what a TypedDict of a provider's library says: also no member that it does not know."""

import collections.abc
import functools
import types
import typing
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typing_extensions
from typing_extensions import NotRequired, Required, is_typeddict


@functools.cache
def _hints(kind):
    return typing_extensions.get_type_hints(kind, include_extras=True)


def _required(kind):
    """Names that must be there, those of the classes that it extends included."""
    names = set()
    for name, hint in _hints(kind).items():
        if get_origin(hint) is Required or name in kind.__required_keys__ and get_origin(hint) is not NotRequired:
            names.add(name)
    return names


def problems(value, kind, path="$"):
    """What is wrong with a value, as a list of sentences; empty where it is right."""
    origin = get_origin(kind)
    if origin in (Required, NotRequired, Annotated):
        return problems(value, get_args(kind)[0], path)
    if kind is Any or kind is object or isinstance(kind, typing.TypeVar):
        return []
    if origin in (Union, types.UnionType):
        found = [problems(value, option, path) for option in get_args(kind)]
        # Of what fits nowhere the nearest miss tells most.
        return [] if any(not each for each in found) else min(found, key=len)
    if origin in (Literal, typing_extensions.Literal):
        return [] if value in get_args(kind) else [f"{path}: {value!r} is none of {get_args(kind)}"]
    if kind is None or kind is type(None):
        return [] if value is None else [f"{path}: must be null"]
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{path}: must be an object ({kind.__name__})"]
        hints = _hints(kind)
        open_ended = getattr(kind, "__pydantic_config__", {}).get("extra") == "allow"
        found = [f"{path}: lacks {name}" for name in _required(kind) if name not in value]
        for name, member in value.items():
            if name in hints:
                found += problems(member, hints[name], f"{path}.{name}")
            elif not open_ended:
                found.append(f"{path}: {kind.__name__} has no {name}")
        return found
    if isinstance(origin, type) and issubclass(origin, collections.abc.Mapping):
        if not isinstance(value, dict):
            return [f"{path}: must be an object"]
        return [each for name, member in value.items() for each in problems(member, get_args(kind)[1], f"{path}.{name}")]
    if origin is not None and origin not in (type,) and len(get_args(kind)) == 1:
        if not isinstance(value, list):
            return [f"{path}: must be an array"]
        return [each for at, item in enumerate(value) for each in problems(item, get_args(kind)[0], f"{path}[{at}]")]
    if kind is float:
        return [] if isinstance(value, (int, float)) and not isinstance(value, bool) else [f"{path}: must be a number"]
    if kind is bool or kind is str:
        return [] if isinstance(value, kind) else [f"{path}: must be {kind.__name__}"]
    if kind is int:
        return [] if isinstance(value, int) and not isinstance(value, bool) else [f"{path}: must be an integer"]
    if isinstance(kind, type):
        # Files and paths, which JSON does not hold.
        return [f"{path}: cannot be {kind.__name__}"]
    return []
