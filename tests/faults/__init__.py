"""Kills the service, its parts and its database at random moments under load, and counts what is left.

`python -m tests.faults --rounds 50` is the whole run; the tests beside it are short ones of the same.
"""
