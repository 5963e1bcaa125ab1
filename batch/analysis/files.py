"""The report's files, each put in place whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batch.analysis.figures import Figures
from batch.analysis.markdown import report_markdown
from batch.analysis.page import report_page
from batch.core.errors import OutputError
from batch.report.formatting import path as shown
from batch.store.durable import PUBLIC_MODE, put_in_place, storage_errors

_FORMS = {".html": report_page, ".htm": report_page, ".md": report_markdown, ".markdown": report_markdown}


def write_report(figures: Figures, targets: Sequence[Path] = ()) -> list[str]:
    """Write the report to files, by their endings, or to report.html and report.md in the output folder.

    Returns their paths as one would type them. Raises `OutputError` for another ending, `StorageError` if a file cannot
    be written.
    """
    paths = targets or [Path(figures.output) / name for name in ("report.html", "report.md")]
    for path in paths:
        if path.suffix.lower() not in _FORMS:
            raise OutputError(f"{shown(str(path))}: a report is written as .html or .md; choose one of these endings")
    for path in paths:
        text = _FORMS[path.suffix.lower()](figures)
        with storage_errors(f"write {shown(str(path))}"):
            put_in_place(str(path), text.encode("utf-8", "backslashreplace"), PUBLIC_MODE)
    return [shown(str(path)) for path in paths]
