"""The operations under the layers, one folder an operation: `reference.py` is the definition."""
