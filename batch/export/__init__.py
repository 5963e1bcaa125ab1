"""Handing over: pictures and a table of them, as a shop, a spreadsheet or a training run takes them.

    summary = export(Path("output/kites"), ExportOptions(preset=PRESETS["shopify"], base_url="https://..."))

A join back into the table that the jobs came from, with presets that are nothing but settings. Originals are read and
never changed. What each option does: docs/export.md.
"""

from batch.export.export import export
from batch.export.presets import DEFAULT, PRESETS
from batch.export.settings import Column, Conversion, ExportOptions, Preset, Status
from batch.export.summary import Export

__all__ = ["DEFAULT", "PRESETS", "Column", "Conversion", "Export", "ExportOptions", "Preset", "Status", "export"]
