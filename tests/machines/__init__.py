"""Whole runs on machines and disks that lack something."""
