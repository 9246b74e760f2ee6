"""Tunes a web-serving Linux board overnight and tells the truth about it in the morning."""

__version__ = "0.1.0"
