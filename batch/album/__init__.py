"""An output folder as people see it: each job's pictures, words, row, attempts and money, read from its files.

Shared by the gallery, the review, the export and the report. It writes nothing and needs neither manifest nor key.
"""

from batch.album.base import AlbumView
from batch.album.entry import Attempt, Entry, Failure, Picture, PictureState, Version
from batch.album.pairing import PairedAlbum
from batch.album.reading import Album, open_album

__all__ = [
    "Album",
    "AlbumView",
    "Attempt",
    "Entry",
    "Failure",
    "PairedAlbum",
    "Picture",
    "PictureState",
    "Version",
    "open_album",
]
