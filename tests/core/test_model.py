"""Facts that travel: what a job's hashes are made of."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from batch.core.model import Job, Reference, job_key
from batch.core.parameters import common_parameters

texts = st.text(st.characters(exclude_categories=[]), max_size=20)  # half a surrogate pair too
references = st.builds(
    lambda name, digest: Reference(name=name, file=Path("x.png"), sha256=digest, mime="image/png", size_bytes=1),
    texts,
    st.sampled_from(["0" * 64, "ab" * 32]) | texts,
)
jobs = st.builds(
    Job,
    id=texts,
    prompt=texts,
    model=texts,
    references=st.lists(references, max_size=3).map(tuple),
    parameters=st.builds(common_parameters, st.none() | texts, texts, st.lists(texts, max_size=2).map(tuple)),
    sample=st.integers(1, 10**6),
)


@given(jobs)
def test_the_spec_hash_is_that_of_sorted_json(job: Job) -> None:
    """Ledgers hold it for years: not one byte of what is hashed may change."""
    spec = {
        "model": job.model,
        "prompt": job.prompt,
        "references": [reference.sha256 for reference in job.references],
        "aspect_ratio": job.aspect_ratio,
        "image_size": job.image_size,
        "modalities": job.modalities,
        "sample": job.sample,
    }
    canonical = json.dumps(spec, sort_keys=True, ensure_ascii=True, separators=(",", ":"))

    assert job.spec_hash() == hashlib.sha256(canonical.encode("ascii")).hexdigest()[:32]
    assert job.spec() == bytes.fromhex(job.spec_hash())


def test_the_spec_hash_of_a_job_as_ledgers_have_it() -> None:
    """The one that docs/ledger.md shows."""
    mug = Reference(
        name="mug.png",
        file=Path("mug.png"),
        mime="image/png",
        size_bytes=1,
        sha256="6ab40e5fbd01b55498ec71770306b619319b60f451f4ad228a6ae933f36e9730",
    )
    job = Job(
        id="mug",
        prompt="Put this mug on a snowy window sill",
        references=(mug,),
        model="gemini-3.1-flash-image",
        parameters=common_parameters("1:1", "512", ("TEXT", "IMAGE")),
    )

    assert job.spec_hash() == "3e64c8a3d954099e3d1f0d3293e74c70"


def test_a_key_is_a_hash_of_the_id() -> None:
    """manifest.jsonl is known to be whole by a hash over them."""
    assert job_key("Tee-für") == hashlib.blake2b("Tee-für".encode(), digest_size=16).digest()
