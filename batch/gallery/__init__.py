"""Static pages that show an output folder: to open from disk, from a bucket or from any web server.

They need no network, no framework and no server. The same pages serve `imagebatch review`.
"""

from batch.gallery.build import Built, build_gallery
from batch.gallery.pages import render_page
from batch.gallery.rows import live_row

__all__ = ["Built", "build_gallery", "live_row", "render_page"]
