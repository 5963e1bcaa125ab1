"""What a run needs of the accounts of a manifest: their keys, their routes, and a client for each."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from batch.core.clock import Clock, SystemClock
from batch.core.errors import ConfigError, OutputError
from batch.core.events import Listener, Message
from batch.core.profiles import Endpoint
from batch.core.registry import load_object, resolve_endpoint
from batch.core.settings import ProviderSettings, Timeouts
from batch.dispatch.base import RouteSettings
from batch.limits.quota_store import FileQuotaStore, MemoryQuotaStore, QuotaStore, quotas_folder
from batch.providers.base import ConnectedProvider, Provider
from batch.providers.guarded import GuardedProvider
from batch.providers.secrets import ApiKey
from batch.runner.accounts import Account
from batch.runner.attempt import PricedProvider
from batch.runner.keys import Tell, find_key
from batch.runner.reread import Reread, reread

_SIMULATOR_KEY: Final = "simulator"
#: An address where nothing listens: for a provider that sends nothing.
_NOWHERE: Final = "https://imagebatch.invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAccount:
    """An account with its key."""

    account: Account
    key: ApiKey

    @property
    def name(self) -> str:
        return self.account.name

    @property
    def fingerprint(self) -> str:
        """Tells accounts apart in files, without leading to the key."""
        return self._fingerprint(self.account.address or self.name)

    @property
    def former_fingerprint(self) -> str:
        """What an earlier version called it: by the manifest's own spelling of the address."""
        return self._fingerprint(self.account.former_address or self.name)

    def _fingerprint(self, name: str) -> str:
        return self.key.fingerprint(f"imagebatch quotas of {name}")

    def route(self, output: Path, clock: Clock, listener: Listener) -> RouteSettings:
        """What the dispatcher knows of it, for a run in that output folder."""
        account = self.account
        return RouteSettings(
            name=self.name,
            limits=account.limits,
            weight=account.weight,
            lanes=account.endpoint.lanes,
            quota_store=self._tally(output, clock, listener),
            models=account.models,
        )

    def _tally(self, output: Path, clock: Clock, listener: Listener) -> QuotaStore:
        """The quotas' counts, shared by all runs of this machine with one key.

        A simulator is each output folder's own; without a limit for the day there is nothing to remember of it.
        """
        limits = self.account.limits
        if self.account.endpoint.embedded and limits.requests_per_day is None and limits.images_per_day is None:
            return MemoryQuotaStore()
        try:
            folder = quotas_folder(os.environ)
        except ConfigError as error:
            listener.on_event(Message(f"the counts of quotas are this run's own, not shared with others: {error}"))
            return MemoryQuotaStore()
        if self.account.endpoint.embedded:
            name = self._fingerprint(f"{output}\0{self.name}")
            return FileQuotaStore(folder, f"{name}.quota", clock, lambda text: listener.on_event(Message(text)))
        names = [f"{each}.quota" for each in (self.fingerprint, self.former_fingerprint)]
        return FileQuotaStore(
            folder, names[0], clock, lambda text: listener.on_event(Message(text)), former_name=names[1]
        )


def read_keys(
    accounts: Sequence[Account], environment: Mapping[str, str], tell: Tell = lambda _: None
) -> tuple[KeyedAccount, ...]:
    """The accounts with their keys. `tell` hears of key files that others may read.

    Raises `ConfigError` if one is missing, or is there twice for one address: its quota would count double.
    """
    opened = tuple(KeyedAccount(account=account, key=_read_key(account, environment, tell)) for account in accounts)
    names: dict[str, str] = {}
    for each in opened:
        other = names.setdefault(each.fingerprint, each.name)
        if other != each.name:
            raise ConfigError(
                f"providers {other} and {each.name} have the same address and the same key, whose quota would count "
                "twice; give them different keys, or remove one"
            )
    return opened


def keys_by_variable(accounts: Sequence[KeyedAccount]) -> Iterator[tuple[str, ApiKey]]:
    """The keys of a run, by the environment's variable that holds each."""
    return ((each.account.endpoint.key_env, each.key) for each in accounts if each.account.endpoint.key_env)


@asynccontextmanager
async def connect(
    accounts: Sequence[KeyedAccount], output: Path, timeouts: Timeouts, clock: Clock
) -> AsyncIterator[Mapping[str, PricedProvider]]:
    """One provider per account, by name."""
    providers: dict[str, PricedProvider] = {}
    async with AsyncExitStack() as stack:
        for opened in accounts:
            account = opened.account
            book = "simulator-book.jsonl" if not providers else f"simulator-book-{account.name}.jsonl"
            base_url = await stack.enter_async_context(_address(account, output / book))
            provider = _provider(account.endpoint, base_url, opened.key, timeouts, clock)
            stack.push_async_callback(provider.aclose)
            providers[account.name] = PricedProvider(provider, account.prices, account.endpoint.profile.ledger_name)
        yield providers


def _provider(endpoint: Endpoint, base_url: str, key: ApiKey, timeouts: Timeouts, clock: Clock) -> ConnectedProvider:
    """The provider of an endpoint. Raises `ConfigError` if the code of its package fails."""
    profile = endpoint.profile
    if not profile.ledger_name:
        return cast("ConnectedProvider", load_object(profile.provider)(endpoint, base_url, key, timeouts, clock))
    try:
        inner: ConnectedProvider = load_object(profile.provider)(endpoint, base_url, key, timeouts, clock)
    except Exception as error:  # any code of others may run here
        words = f"{type(error).__name__}: {error}"
        raise ConfigError(f"provider {profile.name} cannot be started; {profile.provider} failed: {words}") from error
    return GuardedProvider(profile.name, inner)


@asynccontextmanager
async def _address(account: Account, book: Path) -> AsyncIterator[str]:
    """The endpoint's address; the embedded simulator is started for as long as it is needed."""
    if account.simulator is None:
        assert account.endpoint.base_url is not None
        yield account.endpoint.base_url
        return
    from batch.simulator import serve  # here: a server's libraries are no part of a run against the real thing

    async with AsyncExitStack() as stack:
        try:
            running = await stack.enter_async_context(serve(account.simulator, book_path=book))
        except OSError as error:
            raise OutputError(f"cannot start the built-in simulator: {error.strerror or error}") from error
        yield running.base_url


def _read_key(account: Account, environment: Mapping[str, str], tell: Tell) -> ApiKey:
    name = account.endpoint.key_env
    return ApiKey(_SIMULATOR_KEY) if name is None else find_key(name, account.key_file, environment, tell)


async def read_again(output: Path, *, base_url: str | None, dry_run: bool, told: Callable[[Reread], None]) -> None:
    """`reread.reread` with providers that have no key and are only asked what answers mean, and for pictures.

    `base_url` is the one origin from which pictures are fetched although it is not public.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        readers: dict[str, Provider] = {}

        def reader(name: str) -> Provider:
            """The reader of that provider's answers. Raises `ProviderError`."""
            if name not in readers:
                endpoint = resolve_endpoint(ProviderSettings(profile=name or "simulator"))
                provider = _provider(endpoint, base_url or _NOWHERE, ApiKey(_SIMULATOR_KEY), Timeouts(), clock)
                stack.push_async_callback(provider.aclose)
                readers[name] = provider
            return readers[name]

        await reread(output, reader, clock, dry_run=dry_run, told=told)
