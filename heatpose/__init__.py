"""heatpose: names body poses from keypoint heatmaps."""

__version__ = "0.1.0"
