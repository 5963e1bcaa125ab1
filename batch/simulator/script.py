"""Decides which request meets which fault.

Choices are drawn from seed, rule and the request's number, not from a running stream, so the same run meets
the same faults however its requests overtake each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b

from batch.simulator.faults.all_faults import EVERY_FAULT
from batch.simulator.images_wire import ImagesAsk
from batch.simulator.settings import FaultRule, SimulatorOptionsError, fault_rule
from batch.simulator.wire import Ask


def wire_of(ask: Ask | None) -> str | None:
    """Which API a request is of; None before that is known."""
    return None if ask is None else "images" if isinstance(ask, ImagesAsk) else "gemini"


def draw(seed: int, what: str, number: int) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = blake2b(f"{seed}/{what}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


class Script:
    """The rules of a run and how often each has been applied."""

    def __init__(self, rules: Sequence[FaultRule], seed: int) -> None:
        self._rules = rules
        self._seed = seed
        self._applied: Counter[tuple[int, str]] = Counter()

    def before_reading(self, ordinal: int) -> FaultRule | None:
        """The rule that answers request `ordinal` before its body is read."""
        return self._choose(ordinal, None)

    def after_reading(self, ordinal: int, ask: Ask) -> FaultRule | None:
        """The rule for request `ordinal`, what it asks for being known."""
        return self._choose(ordinal, ask)

    def _choose(self, ordinal: int, ask: Ask | None) -> FaultRule | None:
        for number, rule in enumerate(self._rules):
            fault = EVERY_FAULT[rule.fault]
            if fault.early != (ask is None):
                continue
            if not fault.is_for(ask.lane if ask is not None else "standard", wire_of(ask)):
                continue
            counter = (number, ask.prompt if ask is not None and rule.per_prompt else "")
            if self._applies(number, rule, ordinal, ask) and self._has_left(rule, counter):
                if rule.times is not None:
                    self._applied[counter] += 1
                return rule
        return None

    def _has_left(self, rule: FaultRule, counter: tuple[int, str]) -> bool:
        return rule.times is None or self._applied[counter] < rule.times

    def _applies(self, number: int, rule: FaultRule, ordinal: int, ask: Ask | None) -> bool:
        if ordinal <= rule.after:
            return False
        if rule.requests is not None and ordinal not in rule.requests:
            return False
        if ask is not None and rule.prompt is not None and not rule.prompt.search(ask.prompt):
            return False
        if ask is not None and rule.model is not None and not rule.model.search(ask.model.name):
            return False
        return rule.share is None or draw(self._seed, f"rule {number}", ordinal) < rule.share


def rule_from_words(words: str) -> FaultRule:
    """A rule written as `name;param=value;...`: the X-Simulate header and the --fault option.

    Raises SimulatorOptionsError.
    """
    name, *pairs = (word.strip() for word in words.split(";"))
    item: dict[str, str] = {"fault": name}
    for pair in filter(None, pairs):
        key, equals, value = pair.partition("=")
        if not equals:
            raise SimulatorOptionsError([f'{name}: "{pair}" is not written param=value'])
        item[key.strip()] = value.strip()
    return fault_rule(item)
