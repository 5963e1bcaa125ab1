"""What a fault is, and how a kind of them is entered in the list (`all_faults`)."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from batch.simulator.answers import Scene
from batch.simulator.delivery import Answer

Act = Callable[[Scene], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way to misbehave.

    `params` maps each parameter to its default, whose type is the parameter's; `choices` lists the words that
    some of them take. `billed` None follows the status (200 is charged). `early` acts before the request's body
    is read; `own_time` keeps its own time and skips the latency that is set. `lane`: only requests that ask for it meet
    the fault, None for all; `wire`: only those of that API ("gemini" or "images").
    """

    name: str
    section: str
    about: str
    act: Act
    params: Mapping[str, Any] = field(default_factory=dict)
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    billed: bool | None = None
    early: bool = False
    own_time: bool = False
    lane: str | None = None
    wire: str | None = None

    def is_for(self, lane: str, wire: str | None) -> bool:
        """Whether a request that asks for `lane` in that API can meet it."""
        return self.lane in (None, lane) and self.wire in (None, wire)


class Section:
    """Faults of one kind; `add` and `fault` enter them into the table."""

    def __init__(self, title: str, *, wire: str | None = None) -> None:
        self.title = title
        self.wire = wire
        self.faults: list[Fault] = []

    def add(self, name: str, about: str, act: Act, **facts: Any) -> None:
        self.faults.append(Fault(name=name, section=self.title, about=about, act=act, wire=self.wire, **facts))

    def fault(self, name: str, about: str, **facts: Any) -> Callable[[Act], Act]:
        """Decorator form of `add`."""

        def enter(act: Act) -> Act:
            self.add(name, about, act, **facts)
            return act

        return enter


def table(*sections: Section) -> Mapping[str, Fault]:
    """All faults by name, in the order of the sections."""
    faults: dict[str, Fault] = {}
    for section in sections:
        for fault in section.faults:
            if fault.name in faults:
                raise ValueError(f"two faults are called {fault.name}")
            faults[fault.name] = fault
    return faults


def did_you_mean(word: str, known: Mapping[str, Any]) -> str:
    """' (did you mean "x"?)', or nothing if no known word is near."""
    near = difflib.get_close_matches(word.lower().replace("-", "_"), known, n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
