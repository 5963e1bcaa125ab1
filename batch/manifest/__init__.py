"""The first stage: a job manifest (YAML), its rows and its reference pictures become checked jobs.

    manifest = load_manifest(path)      the text is right, or InputError says all that is wrong, with places
    for job in manifest.check(): ...    rows, templates, ids, references are right, or InputError at the end
    for job in manifest.jobs(): ...     the same jobs again, as often as wanted, streamed

Where a manifest lists hosts for its reference pictures, the caller fetches `manifest.wanted_addresses()` before the
check and hands the result to `manifest.use_fetched`.

Nothing here sends anything, and nothing after here reads YAML. The format: docs/manifest.md.

"""

from batch.manifest.manifest import Manifest, load_manifest

__all__ = ["Manifest", "load_manifest"]
