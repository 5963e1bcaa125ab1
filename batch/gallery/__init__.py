"""Static pages that show an output folder: to open from disk, from a bucket or from any web server.

They need no network, no framework and no server. `imagebatch review` serves them with a page that takes decisions.
"""

from batch.gallery.build import Built, build_gallery, build_pages, gallery_folder
from batch.gallery.for_review import copy_maker, make_small_copies, review_page
from batch.gallery.rows import live_row

__all__ = [
    "Built",
    "build_gallery",
    "build_pages",
    "copy_maker",
    "gallery_folder",
    "live_row",
    "make_small_copies",
    "review_page",
]
