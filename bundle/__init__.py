"""Fitted heads in files: what a bundle holds, how it is written, and how one from a stranger is read."""
