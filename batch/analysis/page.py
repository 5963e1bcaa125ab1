"""The report as one HTML file: no script, no request, and a policy that allows neither."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from batch.analysis.charts import latency_chart, throughput_chart
from batch.analysis.figures import Figures
from batch.analysis.wording import (
    ROUTE_HEADS,
    RUN_HEADS,
    headline,
    job_rows,
    latency_rows,
    money_rows,
    route_rows,
    run_rows,
    throughput_words,
)
from batch.report.formatting import printable

_TEMPLATES: Final = Path(__file__).parent / "templates"


def report_page(figures: Figures) -> str:
    """The page. Text from outside is escaped by the template, control and bidi characters are shown as escapes."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = printable
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    return environment.get_template("report.html").render(
        figures=figures,
        style=style,
        style_hash=_hash(style),
        headline=headline(figures),
        jobs=list(job_rows(figures)),
        money=list(money_rows(figures)),
        latency=list(latency_rows(figures)),
        latency_chart=latency_chart(figures.latency) if figures.latency is not None else "",
        throughput=throughput_words(figures),
        throughput_chart=throughput_chart(figures.throughput) if figures.throughput is not None else "",
        route_heads=ROUTE_HEADS,
        routes=list(route_rows(figures)),
        run_heads=RUN_HEADS,
        runs=list(run_rows(figures)),
    )


def _hash(style: str) -> str:
    """What the policy names the one style by: https://www.w3.org/TR/CSP3/#grammardef-hash-source."""
    return base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
