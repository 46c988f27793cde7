"""Sources of poses for a start without a folder: simulated performers, recorded skeletons, photos.

May import `pose` and `data`.
"""
