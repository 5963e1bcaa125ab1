"""The only HTTP client, and what makes odd responses readable."""
