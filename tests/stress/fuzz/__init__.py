"""Fuzzing of everything that reads a file: changes of valid files, and inputs that a coverage-guided fuzzer finds."""
