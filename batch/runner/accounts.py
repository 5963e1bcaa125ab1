"""The endpoints of a manifest, each with its limits and prices, and where the spending of its key is written down.

An account is an endpoint and a key: what a provider counts quotas and money by. The key itself is read in `opening`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from batch.core.errors import InputError, Problem
from batch.core.lane import Lane
from batch.core.model import Job
from batch.core.prices import ChargedBy, PriceTable, load_prices
from batch.core.profiles import Endpoint
from batch.core.registry import resolve_endpoint
from batch.core.settings import Limits, ProviderSettings, ProxySettings, Settings
from batch.money.spend_book import SpendBook, spend_folder

if TYPE_CHECKING:
    from batch.simulator import SimulatorSettings


_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An endpoint of the manifest, whose key is not read yet. `simulator` is set if one is to be started for it."""

    name: str
    endpoint: Endpoint
    limits: Limits
    weight: float
    prices: PriceTable
    simulator: SimulatorSettings | None
    proxy: ProxySettings | None = None
    key_file: str | None = None
    #: That it is known to serve.
    models: frozenset[str] = frozenset()

    def picture_usd(self, job: Job, lane: Lane) -> float:
        """The list price of a picture in that lane, or in the ordinary one if there is no such lane here."""
        return self.prices.picture_usd(job, lane=lane if lane in self.endpoint.lanes else Lane.STANDARD)

    def spend_book(self, key: str, output: Path) -> SpendBook:
        """What runs with this key spend. A rehearsal spends nothing, so each has a book of its own."""
        if self.endpoint.base_url is None:
            return SpendBook(_book_path(f"{output}\0{self.name}"))
        return SpendBook(_book_path(f"{self.address}\0{key}"), _book_path(f"{self.former_address}\0{key}"))

    @property
    def address(self) -> str:
        """The endpoint's address in one spelling, since an account is one however spelt; empty for the simulator."""
        url = self.endpoint.base_url
        return f"{one_spelling(url)}{self.endpoint.profile.account_format}" if url else ""

    @property
    def former_address(self) -> str:
        """What an earlier version called it: the manifest's own spelling, if that version knew the format."""
        return self.address if self.endpoint.profile.account_format else self.endpoint.base_url or ""


def one_spelling(url: str) -> str:
    """An address with scheme and host in small letters, without its scheme's own port and what ends in a slash or dot.

    `HTTPS://Api.example.com.:443/` is `https://api.example.com`.
    """
    try:
        parts = urlsplit(url)
        number = parts.port
    except ValueError:
        return url
    host = (parts.hostname or "").rstrip(".")
    host = f"[{host}]" if ":" in host else host
    port = "" if number in (None, _PORTS.get(parts.scheme)) else f":{number}"
    return f"{parts.scheme}://{host}{port}{parts.path.rstrip('/')}"


def _book_path(whose: str) -> Path:
    name = blake2b(whose.encode("utf-8", "surrogateescape"), digest_size=12, person=b"imagebatch").hexdigest()
    return spend_folder(os.environ) / f"{name}.jsonl"


def accounts_of(settings: Settings, manifest: Path) -> tuple[Account, ...]:
    """The accounts that a manifest names. Raises `ConfigError` or `InputError` for what cannot be."""
    return tuple(_account(provider, settings, manifest) for provider in settings.providers)


def _account(provider: ProviderSettings, settings: Settings, manifest: Path) -> Account:
    endpoint = resolve_endpoint(provider)
    simulator = _simulator_settings(provider, manifest) if endpoint.embedded else None
    return Account(
        name=provider.name or provider.profile,
        endpoint=endpoint,
        limits=provider.limits or settings.limits,
        weight=provider.weight,
        prices=_prices(provider, settings, endpoint, simulator, manifest),
        simulator=simulator,
        proxy=provider.proxy,
        key_file=provider.key_file,
        models=frozenset(endpoint.profile.models) | frozenset(settings.models),
    )


def serving(accounts: Sequence[Account], model: str) -> Sequence[Account]:
    """Those that a model is asked of: those that know it, or all if it is new to every one."""
    return [account for account in accounts if model in account.models] or accounts


def _prices(
    provider: ProviderSettings,
    settings: Settings,
    endpoint: Endpoint,
    simulator: SimulatorSettings | None,
    manifest: Path,
) -> PriceTable:
    own, charged_by = provider.prices or settings.prices, _charged_by(endpoint, simulator)
    try:
        return load_prices(own, settings.price_table, charged_by, endpoint.profile.prices())
    except ValueError:
        name = provider.name or provider.profile
        message = f"provider {name} names no prices; write them in prices, such as prices: {{1K: 0.04}}"
        raise InputError([Problem(message=message, file=str(manifest))]) from None


def _simulator_settings(provider: ProviderSettings, manifest: Path) -> SimulatorSettings:
    from batch.simulator import SimulatorOptionsError, settings_from

    try:
        return settings_from(provider.simulator)
    except SimulatorOptionsError as error:
        problems = [Problem(message=message, file=str(manifest)) for message in error.messages]
        raise InputError(problems) from None


def _charged_by(endpoint: Endpoint, simulator: SimulatorSettings | None) -> ChargedBy:
    return endpoint.profile.charged_by if simulator is None else ChargedBy(simulator.billing)
