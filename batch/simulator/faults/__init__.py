"""Ways to misbehave: what a fault is (`fault`), a file per kind, and the list of them all (`all_faults`)."""
