"""Rewrites traced programs before compilation."""
