"""The twelve instruments as parametric vector drawings, one family a file."""
