"""Caps on money: reserved before a request, settled after it."""
