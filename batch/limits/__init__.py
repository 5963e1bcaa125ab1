"""What a provider allows: told, counted and found by trying."""
