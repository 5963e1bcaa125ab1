"""Prompts and ids made from templates, in a sandbox."""
