"""The first stage: a job manifest (YAML), its rows and its reference pictures become checked jobs.

    manifest = given_manifest({...})    the same of a program's own values
    manifest = load_manifest(path)      the text is right, or InputError says all that is wrong, with places
    for job in manifest.check(): ...    rows, templates, ids, references are right, or InputError at the end
    for job in manifest.jobs(): ...     the same jobs again, as often as wanted, streamed
    for row, job in manifest.jobs_with_rows(): ...    each with the row of the table it was made of

Where a manifest lists hosts for its reference pictures, the caller fetches `manifest.wanted_addresses()` before the
check and hands the result to `manifest.use_fetched`.

Nothing here sends anything, and nothing after here reads YAML. The format: docs/manifest.md.

"""

from batch.manifest.expansion.kept_columns import RowsDigest
from batch.manifest.expansion.row_job import RowJob
from batch.manifest.given import JobSpec
from batch.manifest.manifest import Manifest, given_manifest, load_manifest
from batch.manifest.schema.overrides import say_where
from batch.manifest.schema.schema import limits_problems

__all__ = [
    "JobSpec",
    "Manifest",
    "RowJob",
    "RowsDigest",
    "given_manifest",
    "limits_problems",
    "load_manifest",
    "say_where",
]
