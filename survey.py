"""What icehouse tells without computing a vector: of backbones, weights and heads, of data, of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def list_backbones() -> list[dict[str, Any]]:
    """Return each backbone's name, input size, vector length d, parameters and where its ImageNet weights are.

    `weights` is the file's path, or None if this machine has none; `wanted` is the file's name.
    """
    from .extract import backbones, weights

    return [
        {
            "name": backbone.name,
            "size": backbone.size,
            "dimensions": backbone.dimensions,
            "parameters": backbone.parameters,
            "weights": str(found) if (found := weights.imagenet_present(backbone)) else None,
            "wanted": Path(backbone.weights_file).name,
        }
        for backbone in backbones.BACKBONES.values()
    ]


def list_heads() -> list[dict[str, Any]]:
    """Return each head's name, description and parameters with their defaults."""
    from .classify import heads

    return [
        {"name": head.name, "description": head.description, "parameters": heads.defaults(head)}
        for head in heads.HEADS.values()
    ]
