"""What an exported copy says of how it was made, as XMP: that a model made it, from which prompt, for which job.

Google's Merchant Center asks for the `DigitalSourceType` in every picture that a model made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from batch.pictures.xmp import MOST_JPEG_BYTES, Property, with_xmp

_IPTC: Final = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
GENERATED: Final = "trainedAlgorithmicMedia"
#: Made of photos: what is honest for an edit of a real product's picture.
COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"
SOURCE_TYPES: Final = (GENERATED, COMPOSITE)

#: Characters that XML 1.0 has not.
_NOT_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_AROUND_BYTES: Final = 2000
#: Programs refuse notes of more than a megabyte.
_MOST_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How a picture was made."""

    source_type: str
    prompt: str
    model: str
    job: str

    def into(self, data: bytes, mime: str) -> bytes:
        """The picture's bytes with it. Raises `NoRoomForXmp`."""
        most_bytes = MOST_JPEG_BYTES - _AROUND_BYTES if mime == "image/jpeg" else _MOST_BYTES
        return with_xmp(data, mime, self._properties(most_bytes))

    def _properties(self, most_prompt_bytes: int) -> list[Property]:
        return [
            Property("Iptc4xmpExt", _IPTC, "DigitalSourceType", _SOURCE_TYPES + self.source_type),
            Property("Iptc4xmpExt", _IPTC, "AISystemUsed", _xml(self.model)),
            Property("Iptc4xmpExt", _IPTC, "AIPromptInformation", _cut(_xml(self.prompt), most_prompt_bytes)),
            Property("dc", "http://purl.org/dc/elements/1.1/", "identifier", _xml(self.job)),
            Property("xmp", "http://ns.adobe.com/xap/1.0/", "CreatorTool", "imagebatch"),
        ]


def _cut(text: str, most_bytes: int) -> str:
    """So much of an escaped text as fits."""
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    return re.sub("&[a-z]*$", "", data[: most_bytes - 3].decode("utf-8", "ignore")) + "…"


def _xml(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
