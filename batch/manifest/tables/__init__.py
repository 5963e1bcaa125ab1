"""Rows of CSV, JSON Lines and Parquet files, streamed, with their encodings."""
