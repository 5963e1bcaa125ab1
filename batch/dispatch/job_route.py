"""One job's way through lanes and models in one run: what it asks for next, and what a failure changes about that."""

from __future__ import annotations

from batch.core.errors import AttemptError, Kind, Refused, Unavailable
from batch.core.lane import Lane
from batch.core.model import Job, Terms
from batch.core.settings import Fallback, FallbackOn
from batch.dispatch.shedding import is_shed


class JobRoute:
    """Where `job` is on its way. `lane` is what the manifest wishes for."""

    def __init__(self, job: Job, lane: Lane, fallback: Fallback) -> None:
        self._models = (job.model, *(model for model in fallback.models if model != job.model))
        self._on = fallback.on
        self._at = 0
        self.lane = lane
        #: Of the attempt under way, or the last one.
        self.terms: Terms | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The model to ask, and those that may take its place where it cannot serve requests."""
        return self._models[self._at :] if FallbackOn.OVERLOAD in self._on else self._models[self._at : self._at + 1]

    def went(self, terms: Terms) -> None:
        """An attempt goes out. A model that has been passed over is not come back to."""
        self.terms = terms
        self._at = self._models.index(terms.model)

    def shed(self, error: AttemptError) -> bool:
        """Whether the cheap lane had no room: then the job takes the ordinary one from now on."""
        if self.terms is None or not is_shed(error, self.terms.lane):
            return False
        self.lane = Lane.STANDARD
        return True

    def fall_back(self, error: AttemptError) -> bool:
        """After a model was given up: whether there is another one to ask for this reason."""
        if self._reason(error) not in self._on or self._at + 1 >= len(self._models):
            return False
        self._at += 1
        return True

    def _reason(self, error: AttemptError) -> FallbackOn | None:
        if isinstance(error, Unavailable):
            return FallbackOn.OVERLOAD
        return FallbackOn.SAFETY if isinstance(error, Refused) and error.kind is Kind.POLICY else None
