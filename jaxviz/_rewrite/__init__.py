"""Traced programs, changed before they are compiled."""
