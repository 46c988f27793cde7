"""Poses on disk and the way into memory: heatmap files, tables, storage, caches, groups, writing.

The only room that opens heatmap files. May import `pose`.
"""
