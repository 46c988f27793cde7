"""Mathematics of poses on arrays: skeletons, decoding, geometry, augmentation, similarity.

Pure functions of NumPy arrays, batched over the first axis. Imports NumPy and SciPy only, and no other room.
"""
