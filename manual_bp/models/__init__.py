"""Composites of the ops, each with its backward pass written out in the reverse of its forward."""

from manual_bp.models import mlp

__all__ = ["mlp"]
