"""`imagebatch doctor`: whether everything a run needs is as it must be, found out without buying a picture."""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batch.core.clock import QUOTA_DAY_ZONE, Clock
from batch.core.errors import BatchError, EndpointDown, LockedError
from batch.core.profiles import Endpoint
from batch.core.state_folders import state_home
from batch.providers.answers.classify import classify_error
from batch.providers.http.free_look import Looked, NotReached, look
from batch.providers.openai import version_path
from batch.providers.secrets import ApiKey, Redactor
from batch.runner.accounts import Account
from batch.runner.keys import find_key
from batch.runner.network import reached
from batch.runner.open_files import fit_open_files
from batch.runner.options import RunOptions
from batch.runner.preparation import PreparedRun, prepare
from batch.store.abilities import abilities_of
from batch.store.disk_reserve import BALLAST_BYTES
from batch.store.folder import output_folder

#: What a picture and its answer take while both are there.
_BYTES_PER_PICTURE: Final = 5 << 20
#: Quotas of a minute and deadlines suffer from more.
_CLOCK_SECONDS: Final = 60.0

#: Providers that list their models for free, at their own addresses.
_WITH_LISTING: Final = ("google", "openai")


class Level(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line: what was looked at, how it is, and what to do about it (empty if nothing)."""

    about: str
    level: Level
    words: str
    remedy: str = ""


async def examine(
    manifest: Path | None,
    output: Path | None,
    options: RunOptions,
    environment: Mapping[str, str],
    clock: Clock,
) -> AsyncIterator[Finding]:
    """Look at everything, one after the other. Without a manifest only at the machine."""
    for finding in _machine(environment):
        yield finding
    if manifest is None:
        yield _said("provider", Level.WARN, "not looked at", "name a manifest: imagebatch doctor my.yaml")
        return
    try:
        prepared = prepare(manifest, output, options)
        jobs = sum(1 for _ in prepared.manifest.check())
    except BatchError as error:
        yield _said("manifest", Level.FAIL, str(error), f"correct it; imagebatch plan {manifest} says more")
        return
    yield _said("manifest", Level.OK, f"{jobs:,} {'job' if jobs == 1 else 'jobs'}")
    for finding in _output(prepared, jobs):
        yield finding
    yield _open_files(prepared.accounts)
    try:
        accounts, proxies = reached(prepared.accounts, environment)
    except BatchError as error:
        yield _said("network", Level.FAIL, str(error), "correct the variable")
        return
    for words in proxies:
        yield _said("proxy", Level.OK, words)
    for account in accounts:
        async for finding in _endpoint(account, prepared, environment, clock):
            yield finding


def _said(about: str, level: Level, words: str, remedy: str = "") -> Finding:
    return Finding(about=about, level=level, words=words, remedy=remedy)


def _machine(environment: Mapping[str, str]) -> Iterator[Finding]:
    try:
        ZoneInfo(QUOTA_DAY_ZONE)
        yield _said("time zones", Level.OK, "known")
    except (ZoneInfoNotFoundError, OSError):
        words = "no time zone data: a provider's day begins an hour late in summer"
        yield _said("time zones", Level.WARN, words, "pip install tzdata")
    try:
        yield _said("temporary files", Level.OK, tempfile.gettempdir())
    except OSError:
        words = "there is no folder for temporary files; rows from standard input need one"
        yield _said("temporary files", Level.WARN, words, "set TMPDIR to a folder that can be written")
    yield _state(environment)


def _state(environment: Mapping[str, str]) -> Finding:
    """The folder of what runs share: quotas, and what was spent."""
    remedy = "set XDG_STATE_HOME to a folder that can be written and outlives this run"
    try:
        folder = state_home(environment)
        near = _nearest(folder)
        with tempfile.TemporaryDirectory(dir=near, prefix=".imagebatch-") as probe:
            abilities_of(probe, str(folder))
    except (BatchError, OSError) as error:
        words = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        return _said("state folder", Level.WARN, f"{words}; caps for a day, a month or a tag need it", remedy)
    return _said("state folder", Level.OK, str(folder))


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    return next(each for each in (folder, *folder.parents) if each.is_dir())


def _output(prepared: PreparedRun, jobs: int) -> Iterator[Finding]:
    output = prepared.output
    near = _nearest(output)
    try:
        with output_folder(output):  # takes its lock, and gives it back
            pass
        with tempfile.TemporaryDirectory(dir=near, prefix=".imagebatch-") as probe:
            abilities = abilities_of(probe, str(output))
    except LockedError as error:
        yield _said("output folder", Level.WARN, str(error), "wait for that run, or stop it")
        return
    except (BatchError, OSError) as error:
        words = f"{near}: {error.strerror or error}" if isinstance(error, OSError) else str(error)
        yield _said("output folder", Level.FAIL, words, "name another folder with -o")
        return
    weaker = abilities.weaker(str(output))
    yield _said("output folder", Level.WARN if weaker else Level.OK, weaker or str(output))
    lacks = [name for name, has in (("hard links", abilities.links), ("permissions", abilities.permissions)) if not has]
    if lacks:
        words = f"its file system has no {' and no '.join(lacks)}"
        yield _said("file system", Level.WARN, words, "pictures are copied instead; see docs/operations.md")
    yield _space(near, jobs)


def _space(near: Path, jobs: int) -> Finding:
    free = shutil.disk_usage(near).free
    needed = BALLAST_BYTES + jobs * _BYTES_PER_PICTURE
    words = f"{free >> 20:,} MB free, about {needed >> 20:,} MB are needed for all pictures"
    if free < BALLAST_BYTES:
        return _said("disk", Level.FAIL, words, "free space; a run keeps 64 MB back for answers on their way")
    return _said("disk", Level.OK if free >= needed else Level.WARN, words, "" if free >= needed else "free space")


def _open_files(accounts: tuple[Account, ...]) -> Finding:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        _, fewer = fit_open_files(accounts)
    except BatchError as error:
        return _said("open files", Level.FAIL, str(error), "ulimit -n 1024")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    return _said("open files", Level.WARN if fewer else Level.OK, fewer or "enough for limits.concurrency")


async def _endpoint(
    account: Account, prepared: PreparedRun, environment: Mapping[str, str], clock: Clock
) -> AsyncIterator[Finding]:
    if account.endpoint.embedded:
        yield _said(account.name, Level.OK, "the built-in simulator: no key, nothing is charged")
        return
    warnings: list[str] = []
    try:
        key = find_key(account.endpoint.key_env or "", account.key_file, environment, warnings.append)
    except BatchError as error:
        yield _said(f"{account.name} key", Level.FAIL, str(error), "see docs/operations.md, The key")
        return
    level = Level.WARN if warnings else Level.OK
    yield _said(f"{account.name} key", level, "; ".join(warnings) or f"there ({account.endpoint.key_env})")
    for model in sorted({job.model for job in prepared.manifest.jobs()}):
        async for finding in _model(account, model, key, clock):
            yield finding
            if finding.level is Level.FAIL and finding.about.endswith("endpoint"):
                return


async def _model(account: Account, model: str, key: ApiKey, clock: Clock) -> AsyncIterator[Finding]:
    """What a look at a model's own page says, which costs nothing where the provider has one."""
    endpoint = account.endpoint
    assert endpoint.base_url is not None
    host = urlsplit(endpoint.base_url).netloc
    try:
        looked = await look(
            endpoint.base_url, _page(endpoint, model), auth=endpoint.auth, key=key, network=endpoint.network
        )
    except NotReached as error:
        yield _said(f"{account.name} endpoint", Level.FAIL, f"{host}: {error}", _REMEDIES[error.by])
        return
    yield _said(f"{account.name} endpoint", Level.OK, f"{host} answers")
    yield _skew(looked, clock)
    yield _meaning(account, model, looked, key, clock)


def _page(endpoint: Endpoint, model: str) -> str:
    """Where an endpoint of one of our formats tells of a model; of others only its root is known."""
    pages = {"": f"/v1beta/models/{model}", "openai": f"{version_path(endpoint.base_url or '')}/models/{model}"}
    return pages.get(endpoint.profile.ledger_name, "/")


_REMEDIES: Final = {
    "connection": "check base_url and the network; behind a proxy set HTTPS_PROXY",
    "timeout": "check the network; behind a proxy set HTTPS_PROXY",
    "tls": "if an authority of your own has signed its certificate, set SSL_CERT_FILE",
    "proxy": "put user and password into HTTPS_PROXY, or take the host out with NO_PROXY",
}


def _skew(looked: Looked, clock: Clock) -> Finding:
    try:
        told = parsedate_to_datetime(looked.headers.get("date", ""))
    except ValueError:
        return _said("clock", Level.WARN, "the endpoint does not tell its time, so ours cannot be compared")
    told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    seconds = (clock.now() - told).total_seconds()
    if abs(seconds) <= _CLOCK_SECONDS:
        return _said("clock", Level.OK, "as the endpoint's")
    side = "ahead of" if seconds > 0 else "behind"
    return _said("clock", Level.WARN, f"{abs(seconds):,.0f} s {side} the endpoint's", "set it, as with NTP")


def _meaning(account: Account, model: str, looked: Looked, key: ApiKey, clock: Clock) -> Finding:
    about = f"{account.name} model"
    if looked.status == 200 and model.encode() in looked.body:
        return _said(about, Level.OK, f"{model} is served for this key")
    meant = classify_error(looked.status, looked.headers, looked.body, now=clock.now(), redact=Redactor(key).text)
    profile = account.endpoint.profile
    own = profile.name in _WITH_LISTING and account.endpoint.base_url == profile.base_url
    is_refused = looked.status in (401, 402, 403) or meant.code in ("bad_key", "no_credit", "permission_denied")
    if isinstance(meant, EndpointDown) and (is_refused or (own and meant.code == "model_missing")):
        return _said(about, Level.FAIL, meant.message, "a person must act in the provider's console")
    words = f"whether {model} is served for this key shows only when a picture is asked for"
    return _said(about, Level.WARN, words, "--buy-one asks for one")
