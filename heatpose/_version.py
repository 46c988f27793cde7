"""The version of heatpose."""

__version__ = "0.1.0"
