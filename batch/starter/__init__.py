"""Writes a first manifest for a table and a folder of photos."""
