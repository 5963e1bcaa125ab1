"""Joins the stages: a run, and what else works on an output folder."""
