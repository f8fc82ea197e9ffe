"""The pictures and tables of docs/idea.md, drawn from recorded files: `python -m docs.figures --help`."""
