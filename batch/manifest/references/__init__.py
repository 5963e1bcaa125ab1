"""Reference pictures a job names: files, patterns, addresses."""
