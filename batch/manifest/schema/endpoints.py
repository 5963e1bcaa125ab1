"""The endpoints of a manifest: each with its name and limits, and what they may not be together.

What a single field may hold was checked before (`schema`); a provider whose profile is not known is left out here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

from batch.core.lane import Lane
from batch.core.registry import SHIPPED, find_profile
from batch.core.settings import Auth, Limits, ProviderSettings, ProxySettings
from batch.manifest.problems import Problems
from batch.manifest.schema import fields
from batch.manifest.schema.schema import BURST_NEEDS_A_RATE, LimitsShape, ManifestShape, ProviderShape
from batch.manifest.schema.yaml_text import At, Document

#: A provider that was read, with its place in the list.
_Read: TypeAlias = tuple[int, ProviderShape]


@dataclass(frozen=True, slots=True)
class EndpointsReader:
    """Reads the endpoints of one manifest and notes what is wrong with them."""

    shape: ManifestShape
    providers: Sequence[ProviderShape | None]
    document: Document
    problems: Problems

    def endpoints(self) -> tuple[ProviderSettings, ...]:
        """All endpoints whose profile is known, in the order written."""
        known = [(index, provider) for index, provider in enumerate(self.providers) if provider is not None]
        names = self._names(known)
        endpoints = tuple(self._endpoint(names[index], provider) for index, provider in known)
        if len(self.providers) > fields.MOST_PROVIDERS:
            self._note(f"{len(self.providers)} providers; at most {fields.MOST_PROVIDERS} are allowed", self._at())
        self._check_keys(known)
        self._check_proxies(known)
        self._check_rehearsal(known)
        self._check_concurrency(endpoints)
        self._check_lane(known)
        self._check_burst(known, endpoints)
        return endpoints

    def _endpoint(self, name: str, provider: ProviderShape) -> ProviderSettings:
        return ProviderSettings(
            profile=provider.profile,
            name=name,
            weight=provider.weight,
            limits=self._limits(provider.limits),
            prices=provider.prices,
            base_url=provider.base_url,
            auth=None if provider.auth is None else Auth(provider.auth),
            key_env=provider.key_env,
            simulator=provider.simulator,
            proxy=_proxy(provider),
            key_file=provider.key_file,
        )

    def _limits(self, own: LimitsShape) -> Limits | None:
        """The manifest's limits with those that are written in the entry; None if none are."""
        if not own.model_fields_set:
            return None
        return Limits(**self.shape.limits.model_dump() | own.model_dump(exclude_unset=True))

    def _names(self, known: Sequence[_Read]) -> dict[int, str]:
        """The name of each: as given, else its profile's, numbered from the second one on."""
        names: dict[int, str] = {}
        unnamed: Counter[str] = Counter()
        for index, provider in known:
            if provider.name is None:
                unnamed[provider.profile] += 1
                number = unnamed[provider.profile]
                names[index] = provider.profile if number == 1 else f"{provider.profile}-{number}"
            else:
                names[index] = provider.name
        self._check_names(known, names)
        return names

    def _check_names(self, known: Sequence[_Read], names: dict[int, str]) -> None:
        first: dict[str, _Read] = {}
        for index, provider in known:
            other, before = first.setdefault(names[index], (index, provider))
            if other == index:
                continue
            # Only a name that was written can be written differently; two by default never meet.
            given, met = (other, index) if provider.name is None else (index, other)
            by_default = "" if provider.name is not None and before.name is not None else " by default"
            message = f"the provider on line {self._at(met).line} is called {names[index]} too{by_default}"
            self._note(f"{message}; give different names", self._at(given, "name"))

    def _check_keys(self, known: Sequence[_Read]) -> None:
        """A key has one quota, however often it is named."""
        first: dict[tuple[str, str | None], int] = {}
        for index, provider in known:
            address, key = _account(provider)
            if (key is None and provider.base_url is None) or self._is_half_read(index, provider):
                continue  # each built-in simulator is one of its own
            other = first.setdefault((address, key), index)
            if other != index:
                what = "endpoint" if key is None else f"endpoint and key ({key})"
                message = f"same {what} as the provider on line {self._at(other).line}, so its quota would count twice"
                self._note(f"{message}; name another key in key_env, or remove one", self._at(index))

    def _check_proxies(self, known: Sequence[_Read]) -> None:
        for index, provider in known:
            if not provider.proxy and (provider.proxy_login_env or provider.proxy_login_file):
                field = "proxy_login_env" if provider.proxy_login_env else "proxy_login_file"
                self._note(f"{field} needs the proxy beside it; write proxy", self._at(index, field))

    def _check_rehearsal(self, known: Sequence[_Read]) -> None:
        """The simulator's pictures would stand among those that were paid for."""
        drawn = [index for index, provider in known if find_profile(provider.profile).is_simulator]
        if drawn and len(drawn) < len(known):
            message = "the built-in simulator draws its pictures, and they would count as bought; remove it"
            self._note(f"{message}, or let all providers be simulators", self._at(drawn[0]))

    def _is_half_read(self, index: int, provider: ProviderShape) -> bool:
        """Whether its address or key is written and wrong, so that it is not known whose quota it uses."""
        return any(
            getattr(provider, field) is None
            and self.document.node("provider", index, field) is not self.document.node("provider", index)
            for field in ("base_url", "key_env")
        )

    def _check_concurrency(self, endpoints: Sequence[ProviderSettings]) -> None:
        in_all = sum((endpoint.limits or self.shape.limits).concurrency for endpoint in endpoints)
        if len(endpoints) > 1 and in_all > fields.MOST_CONCURRENCY:
            message = f"concurrency of all providers together is {in_all:,}; lower it in their limits"
            self._note(f"{message} to {fields.MOST_CONCURRENCY:,} or less", self._at())

    def _check_lane(self, known: Sequence[_Read]) -> None:
        if self.shape.lane != Lane.FLEX or len(known) < len(self.providers):
            return
        if not any(Lane.FLEX in find_profile(provider.profile).lanes for _, provider in known):
            with_flex = [name for name in SHIPPED if Lane.FLEX in find_profile(name).lanes]
            has = " and ".join(with_flex)
            message = f"lane flex: no provider of this manifest has it; {has} have it, else remove lane"
            self._note(message, self.document.at("lane"))

    def _check_burst(self, known: Sequence[_Read], endpoints: Sequence[ProviderSettings]) -> None:
        if self.shape.limits.burst is not None and Limits(**self.shape.limits.model_dump()).per_second is None:
            self._note(BURST_NEEDS_A_RATE, self.document.at("limits", "burst"))
            return
        for (index, provider), endpoint in zip(known, endpoints, strict=True):
            if provider.limits.burst is not None and endpoint.limits is not None and endpoint.limits.per_second is None:
                self._note(BURST_NEEDS_A_RATE, self._at(index, "limits", "burst"))

    def _at(self, *path: str | int) -> At:
        return self.document.at("provider", *path)

    def _note(self, message: str, at: At) -> None:
        self.problems.add_once_at(message, at.line, at.column)


def _proxy(provider: ProviderShape) -> ProxySettings | None:
    if provider.proxy is None:
        return None
    return ProxySettings(url=provider.proxy, login_env=provider.proxy_login_env, login_file=provider.proxy_login_file)


def _account(provider: ProviderShape) -> tuple[str, str | None]:
    """Whose quota a provider uses: where it is and in which format, and the variable with the key."""
    profile = find_profile(provider.profile)
    parts = urlsplit(provider.base_url or profile.base_url or profile.name)
    key = provider.key_file or provider.key_env or profile.key_env
    return f"{parts._replace(netloc=parts.netloc.lower()).geturl()}{profile.account_format}", key
