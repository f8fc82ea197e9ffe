"""A linear map whose products go to the library that is fastest at them on this processor."""
