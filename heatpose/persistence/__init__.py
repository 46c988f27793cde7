"""Saved models: joblib files with manifests, safe files, ONNX graphs, model cards, the Hugging Face Hub.

May import `model`, `evaluation` and all that they stand on.
"""
