"""A provider from a third-party package: an error in its code ends the attempt and never loses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from batch.core.errors import BatchError, EndpointDown, ExitCode, Kind, OutcomeUnknown, Unusable
from batch.core.lane import Lane
from batch.core.model import Job
from batch.providers.base import Answer, Blob, ConnectedProvider, Received, Request, Spool

#: The cause that stands in the ledger.
_CODE: Final = "provider_failed"


class GuardedProvider:
    """Turns any exception that is not of our family into what it means for the money.

    Before sending, nothing was bought and no request makes sense. While sending, it may have been. Afterwards it was:
    the answer is kept, and `imagebatch reread` finds its picture once the package is mended.
    """

    def __init__(self, name: str, inner: ConnectedProvider) -> None:
        self._name = name
        self._inner = inner

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def prepare(self, job: Job, lane: Lane = Lane.STANDARD) -> Request:
        with self._failing(lambda words: EndpointDown(_CODE, words, exit_code=ExitCode.SOFTWARE)):
            return await self._inner.prepare(job, lane)

    async def send(self, request: Request, attempt_id: str, spool: Spool) -> Received:
        with self._failing(lambda words: OutcomeUnknown(_CODE, words)):
            return await self._inner.send(request, attempt_id, spool)

    def unpacked(self, received: Received, spool: Spool) -> Received:
        with self._failing(lambda words: Unusable(_CODE, words, kind=Kind.UNREADABLE, retries=0)):
            return self._inner.unpacked(received, spool)

    def interpret(self, received: Received) -> Answer:
        with self._failing(lambda words: Unusable(_CODE, words, kind=Kind.UNREADABLE, retries=0)):
            return self._inner.interpret(received)

    async def download(self, url: str, spool: Spool) -> Blob:
        with self._failing(lambda words: Unusable(_CODE, words, kind=Kind.UNREADABLE, retries=0)):
            return await self._inner.download(url, spool)

    @contextmanager
    def _failing(self, meaning: Callable[[str], BatchError]) -> Iterator[None]:
        try:
            yield
        except BatchError:
            raise
        except Exception as error:
            words = f"the package of provider {self._name} failed: {type(error).__name__}: {error}"
            raise meaning(words) from error
