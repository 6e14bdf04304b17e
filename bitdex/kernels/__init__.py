"""Compiled functions on arrays: no I/O, no Python objects, no strings, one topic per module."""
