"""Reference pictures on their way into a request."""
