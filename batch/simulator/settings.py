"""The simulator's options as one checked value.

`settings_from` takes what a manifest or the command line says (plain mappings, lists, numbers) and reports
every problem at once, with the word that was probably meant.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from batch.simulator.faults.all_faults import EVERY_FAULT
from batch.simulator.faults.fault import did_you_mean


class SimulatorOptionsError(ValueError):
    """Options that make no sense. `messages` lists every problem."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__("\n".join(messages))
        self.messages = messages


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """When to commit which fault. Without `share`, `requests`, `after`, `prompt` or `model` it is every request.

    `share` is the part of all requests, `requests` their numbers in order of arrival from 1, `after` a number
    beyond which all are meant, `prompt` and `model` regular expressions searched in these. `times` bounds how
    often, and `per_prompt` counts that bound for each prompt apart. `billed` overrides how the fault is
    charged; `params` are the fault's own, and its defaults hold for those left out.
    """

    fault: str
    share: float | None = None
    requests: frozenset[int] | None = None
    after: int = 0
    prompt: re.Pattern[str] | None = None
    model: re.Pattern[str] | None = None
    times: int | None = None
    per_prompt: bool = False
    billed: bool | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorSettings:
    """How the simulated provider is to behave.

    flavour              "google", "relay" or "anyfast": whose error bodies and headers it answers with; "anyfast" is
                         a relay whose pictures are in `inline_data`, as the sample on AnyFast's page reads them
    spelling             "camel" or "snake": field names of answers
    format               "png", "jpeg", or "alternate" (by the prompt, so that both occur)
    pictures             "drawn" (each its own) or "plain" (one per ratio and size, for load tests)
    picture_bytes        pad every picture to this size with a comment, as real ones are larger
    latency_seconds      how long the model takes: fixed, or (low, high) drawn evenly
    billing              "request" (one list price per charged request, as relays do) or "tokens" (those it reports)
    requests_per_minute  429 above it; also requests_per_day
    keys                 accepted keys; empty means any key that is not empty
    faults               rules, the first that applies wins
    seed                 decides shares and latencies
    judge_accepts        a question about a picture that matches is answered with "accepted", any other with "rejected"
    allow_remote         answer to Host headers that are not loopback, and bind elsewhere
    max_request_bytes    larger requests are refused
    entries_in_memory    how many entries of the book `entries` keeps; totals and the file know all
    """

    flavour: str = "google"
    spelling: str = "camel"
    format: str = "alternate"
    pictures: str = "drawn"
    picture_bytes: int | None = None
    latency_seconds: tuple[float, float] = (0.0, 0.0)
    billing: str = "request"
    requests_per_minute: int | None = None
    requests_per_day: int | None = None
    keys: frozenset[str] = field(default=frozenset(), repr=False)
    faults: tuple[FaultRule, ...] = ()
    seed: int = 1
    judge_accepts: str = ""
    allow_remote: bool = False
    max_request_bytes: int = 100 << 20
    entries_in_memory: int = 100_000


def settings_from(options: Mapping[str, Any]) -> SimulatorSettings:
    """Check `options` and make settings of them. Raises SimulatorOptionsError with all problems."""
    problems: list[str] = []
    known = {option.name: _READERS[option.name] for option in fields(SimulatorSettings)}
    values: dict[str, Any] = {}
    for name, value in options.items():
        if name not in known:
            problems.append(f'simulator: unknown option "{name}"{did_you_mean(str(name), known)}')
            continue
        try:
            values[name] = known[name](value)
        except SimulatorOptionsError as error:
            problems.extend(error.messages)
        except _UnfitError as error:
            problems.append(f"simulator: {name}: {error}")
    if problems:
        raise SimulatorOptionsError(problems)
    return SimulatorSettings(**values)


# ---- readers: a value as the user wrote it -> the value, or _UnfitError with what is wrong -----------------


class _UnfitError(ValueError):
    """A value that does not fit; says what is wrong with it."""


def _one_of(*words: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in words:
            hint = did_you_mean(str(value), dict.fromkeys(words))
            raise _UnfitError(f"{value!r} is not one of {', '.join(words)}{hint}")
        return str(value)

    return read


def _whole(least: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise _UnfitError(f"{value!r} is not a whole number from {least} up")
        return value

    return read


def _whole_or_none(least: int) -> Callable[[Any], int | None]:
    def read(value: Any) -> int | None:
        return None if value is None else _whole(least)(value)

    return read


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _UnfitError(f"{value!r} is not true or false")
    return value


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise _UnfitError(f"{value!r} is not a number of seconds from 0 up")
    return float(value)


def _latency(value: Any) -> tuple[float, float]:
    if not isinstance(value, list | tuple):
        return _seconds(value), _seconds(value)
    if len(value) != 2:
        raise _UnfitError(f"{value!r} is neither a number nor [low, high]")
    low, high = _seconds(value[0]), _seconds(value[1])
    if low > high:
        raise _UnfitError(f"{value!r}: low is above high")
    return low, high


def _keys(value: Any) -> frozenset[str]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list | tuple | set | frozenset) or not all(
        isinstance(key, str) and key for key in values
    ):
        raise _UnfitError("keys must be a list of words that are not empty")
    return frozenset(values)


def _fault_rules(value: Any) -> tuple[FaultRule, ...]:
    if not isinstance(value, list | tuple):
        raise _UnfitError("must be a list, for example [{fault: http_503, share: 0.1}]")
    problems: list[str] = []
    rules: list[FaultRule] = []
    for number, item in enumerate(value, 1):
        try:
            rules.append(fault_rule(item))
        except SimulatorOptionsError as error:
            problems.extend(f"simulator: faults[{number}]: {message}" for message in error.messages)
    if problems:
        raise SimulatorOptionsError(problems)
    return tuple(rules)


def fault_rule(item: Any) -> FaultRule:
    """One rule from its mapping (or just the fault's name). Raises SimulatorOptionsError."""
    if isinstance(item, FaultRule):
        return item
    if isinstance(item, str):
        item = {"fault": item}
    if not isinstance(item, Mapping) or not isinstance(item.get("fault"), str):
        raise SimulatorOptionsError(["must be a mapping with `fault: NAME`"])
    name = item["fault"]
    fault = EVERY_FAULT.get(name)
    if fault is None:
        raise SimulatorOptionsError([f'unknown fault "{name}"{did_you_mean(name, EVERY_FAULT)}'])
    problems: list[str] = []
    facts: dict[str, Any] = {}
    params: dict[str, Any] = {}
    for key, value in item.items():
        try:
            if key in fault.params:
                read = _one_of(*fault.choices[key]) if key in fault.choices else None
                params[key] = read(str(value)) if read else _like(fault.params[key], value)
            elif key in _RULE_READERS:
                facts[key] = _RULE_READERS[key](value)
            elif key != "fault":
                hint = did_you_mean(str(key), {**_RULE_READERS, **fault.params})
                problems.append(f'{name}: unknown parameter "{key}"{hint}')
        except _UnfitError as error:
            problems.append(f"{name}: {key}: {error}")
    if fault.early and ("prompt" in facts or "model" in facts or facts.get("per_prompt")):
        problems.append(f"{name}: happens before the prompt is read; choose it by `requests` or `share`")
    if problems:
        raise SimulatorOptionsError(problems)
    return FaultRule(fault=name, params={**fault.params, **params}, **facts)


def _like(default: Any, value: Any) -> Any:
    """`value` as the type of `default`; words are read as numbers where numbers belong (command line)."""
    if isinstance(default, bool):
        return _boolean(value)
    if isinstance(default, str):
        return str(value)
    kind = type(default)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _UnfitError(f"{value!r} is not a number")
    try:
        number = kind(value)
    except ValueError:
        raise _UnfitError(f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise _UnfitError(f"{value!r} is not a finite number")
    return number


def _boolean(value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    try:
        return words[str(value).lower()]
    except KeyError:
        raise _UnfitError(f"{value!r} is not true or false") from None


def _share(value: Any) -> float:
    number = _like(1.0, value)
    if not 0 <= number <= 1:
        raise _UnfitError(f"{value!r} is not between 0 and 1")
    return float(number)


def _numbers(value: Any) -> frozenset[int]:
    if isinstance(value, str):
        value = [int(word) if word.isdecimal() else word for word in value.split(",")]
    items = value if isinstance(value, list | tuple | set | frozenset) else [value]
    return frozenset(_whole(1)(item) for item in items)


def _pattern(value: Any) -> re.Pattern[str]:
    try:
        return re.compile(str(value))
    except re.error as error:
        raise _UnfitError(f"{value!r} is no regular expression: {error}") from None


def _expression(value: Any) -> str:
    return _pattern(value).pattern


def _after(value: Any) -> int:
    return _whole(0)(_like(1, value))


def _times(value: Any) -> int:
    return _whole(1)(_like(1, value))


_RULE_READERS: Mapping[str, Callable[[Any], Any]] = {
    "share": _share,
    "requests": _numbers,
    "after": _after,
    "prompt": _pattern,
    "model": _pattern,
    "times": _times,
    "per_prompt": _boolean,
    "billed": _boolean,
}

_READERS: Mapping[str, Callable[[Any], Any]] = {
    "flavour": _one_of("google", "relay", "anyfast"),
    "spelling": _one_of("camel", "snake"),
    "format": _one_of("png", "jpeg", "alternate"),
    "pictures": _one_of("drawn", "plain"),
    "picture_bytes": _whole_or_none(1),
    "latency_seconds": _latency,
    "billing": _one_of("request", "tokens"),
    "requests_per_minute": _whole_or_none(0),
    "requests_per_day": _whole_or_none(0),
    "keys": _keys,
    "faults": _fault_rules,
    "seed": _whole(0),
    "judge_accepts": _expression,
    "allow_remote": _flag,
    "max_request_bytes": _whole(1),
    "entries_in_memory": _whole(0),
}
