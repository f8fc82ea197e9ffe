"""Changes the library in one place at a time and sees whether its tests notice."""
