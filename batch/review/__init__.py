"""`imagebatch review`: the gallery on loopback, with decisions that are durable before the page says so."""

from batch.review.server import Review, serve_review

__all__ = ["Review", "serve_review"]
