"""`imagebatch schema`."""

from __future__ import annotations

import json

import click

from batch.cli.console import show_lines


@click.command(short_help="Print the manifest's JSON Schema, for editors.")
def schema() -> None:
    """Print the JSON Schema of a manifest: with it an editor completes keys and marks mistakes.

    \b
      imagebatch schema > manifest.schema.json
    and as the manifest's first line
      # yaml-language-server: $schema=manifest.schema.json
    """
    from batch.core.registry import provider_names
    from batch.manifest.schema.json_schema import manifest_json_schema

    show_lines([json.dumps(manifest_json_schema(provider_names()), indent=2)])
