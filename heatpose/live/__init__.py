"""Poses in time: frames to events, growing folders, cameras and servers.

May import `persistence` and all that it stands on.
"""
