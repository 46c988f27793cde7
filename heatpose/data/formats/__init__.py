"""Poses as other tools write them: one module a format, and one entry each in the table of :mod:`.reading`."""
