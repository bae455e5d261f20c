"""Data concentrator unit: reads meters, keeps what it read, delivers it, and switches only with authority."""

__version__ = "0.1.0"
