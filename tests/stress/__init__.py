"""Attacks on everything that is there, from outside: `python -m tests.stress --help`, and docs/reliability.md.

An attack tries many inputs, faults or changes and says how many broke what holds. Each has a full size, recorded by
`make stress`, and a small one, which the tests run.
"""
