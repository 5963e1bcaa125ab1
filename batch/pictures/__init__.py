"""Pictures as people see them: which are read, whether they are whole, and how they look."""
