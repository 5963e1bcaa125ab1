"""`imagebatch models`."""

from __future__ import annotations

from difflib import get_close_matches

import click

from batch.cli.console import show_json, show_lines


@click.command(short_help="Show what image models take and cost.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def models(name: str | None, *, as_json: bool) -> None:
    """Show the models that are known: what each takes and costs, when it ends, and where that is from.

    With NAME, everything known of one. A manifest changes and extends the table with models or model_table.
    """
    from batch.core.image_models import MODELS, RETIRED_MODELS
    from batch.core.openai_models import OPENAI_MODELS, openai_prices
    from batch.core.prices import shipped_prices
    from batch.report.formatting import printable
    from batch.report.models import model_lines, models_as_json, table_lines

    known, prices = {**MODELS, **OPENAI_MODELS}, {**shipped_prices(), **openai_prices()}
    if name is not None and name not in known:
        close = get_close_matches(name[:200], known, n=1)
        hint = f"did you mean {close[0]}?" if close else "imagebatch models shows those that are"
        if name in RETIRED_MODELS:
            hint = f"it was retired; write {RETIRED_MODELS[name]}"
        raise click.BadParameter(f"{printable(name, 100)} is in no table; {hint}", param_hint="'NAME'")
    chosen = known if name is None else {name: known[name]}
    if as_json:
        show_json(models_as_json(chosen, prices))
    elif name is None:
        show_lines(table_lines(chosen, prices))
    else:
        show_lines(model_lines(name, chosen[name], prices[name]))
