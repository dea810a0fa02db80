"""Which tensors of a network become vectors: the last maps, a layer by its name, the last maps of each stage.

Nothing here computes. Keras has no public way to walk a network, so its nodes are read as it runs them itself.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from typing import Any

from .. import errors

LAYER = "avg_pool"
PYRAMID = "pyramid"
MAPS = "maps"
"""What a network of `networks.assemble` calls its last feature maps, and no layer's vectors are called."""

_PADDING = ("ZeroPadding2D", "Cropping2D")
_PREPARATION = ("InputLayer", "Rescaling", "Normalization", "Resizing", "CenterCrop", *_PADDING)
_FINEST = 2
"""Stages are looked for from 1/4 of the input on, the second halving."""


@dataclass(frozen=True)
class _Node:
    """One call of a layer in a network."""

    layer: Any
    inputs: list[Any]
    outputs: list[Any]

    @property
    def kind(self) -> str:
        return type(self.layer).__name__

    @property
    def maps(self) -> Any:
        """Its output if that is feature maps (b, h, w, c), else None."""
        if len(self.outputs) == 1 and len(self.outputs[0].shape) == 4 and not self.kind.startswith("Global"):
            return self.outputs[0]
        return None


def resolve(network: Any, names: tuple[str, ...], *, size: int | None = None) -> dict[str, Any]:
    """Return the tensors that are pooled to the vectors asked for.

    Parameters
    ----------
    network : keras.Model
        One input (b, h, w, 3), one output.
    names : tuple of str
        As typed: `avg_pool` is the last feature maps, `pyramid` the last maps of each stage (`pyramid_4`,
        `pyramid_8` and so on: by how much smaller than the input they are), others are names of layers.
    size : int, optional
        The input size at which a stage's scale is measured, so that the same layers are taken at every size;
        the network's own unless told.

    Returns
    -------
    dict of str to KerasTensor
        Feature maps (b, h, w, c) or vectors (b, d), in the order asked for, each once.

    Raises
    ------
    UsageError
        If there is no such layer, or its output is neither maps nor a vector, or it has no stages.
    """
    found: dict[str, Any] = {}
    for name in names:
        if name == LAYER:
            found[LAYER] = last_maps(network)
        elif name == PYRAMID:
            found.update(_pyramid(network, size or network.inputs[0].shape[1]))
        else:
            found[name] = _named(network, name)
    return found


def last_maps(network: Any) -> Any:
    """Return the last feature maps (b, h, w, c): what a classifier, if there is one, pools or flattens.

    These are the last that every path through the network passes, before anything that is no maps is; where no
    maps are such, the last of all.

    Raises
    ------
    UsageError
        If the network has none.
    """
    return _last_maps(nodes(network)).maps


def _last_maps(all_nodes: list[_Node]) -> _Node:
    passed = _passed_by_every_path(all_nodes)
    last = None
    for node, every in zip(all_nodes, passed, strict=True):
        if every and node.maps is None:
            break
        if every and node.kind not in _PREPARATION and not node.kind.startswith("Random"):
            last = node
    if last is None:
        last = next((n for n in reversed(all_nodes) if n.maps is not None and n.kind != "InputLayer"), None)
    if last is None:
        raise errors.UsageError("The network has no feature maps: it is no convolutional network.")
    return last


def _named(network: Any, name: str) -> Any:
    layers = {node.layer.name: node for node in nodes(network)}
    if name not in layers:
        near = difflib.get_close_matches(name, layers, n=4, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise errors.UsageError(
            f"{network.name} has no layer {name!r}.{hint} Others are avg_pool, its last maps, and pyramid."
        )
    if "/" in name or name == MAPS:
        raise errors.UsageError(f"Vectors of the layer {name!r} cannot be stored under that name.")
    outputs = layers[name].outputs
    if len(outputs) != 1 or len(outputs[0].shape) not in (2, 4):
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise errors.UsageError(
            f"The layer {name!r} yields {shapes}, neither feature maps (b, h, w, c) nor a vector (b, d)."
        )
    return outputs[0]


def _pyramid(network: Any, size: int) -> dict[str, Any]:
    """Return the last maps of each stage.

    A stage is the maps at one scale: log2 of how much smaller than the input they are, rounded, since
    convolutions without padding take a few cells off. Its last maps are those of the last layer there that
    every path from input to output passes. In networks that hand on two states, as NASNet does, no layer in the
    middle is such: the last of the widest sums and concatenations there, a cell's output, stands for it.
    """
    all_nodes = nodes(network)
    end = all_nodes.index(_last_maps(all_nodes))
    passed, heights = _passed_by_every_path(all_nodes), _heights(network, size)
    stages: dict[int, Any] = {}
    joined: dict[int, Any] = {}
    for place, node in enumerate(all_nodes[: end + 1]):
        height = heights[place]
        if node.maps is None or node.kind in _PADDING or not height:
            continue
        level = round(math.log2(size / height))
        if passed[place]:
            stages[level] = node.maps
        elif node.kind in ("Add", "Concatenate"):
            before = joined.get(level)
            if before is None or before.shape[-1] <= node.maps.shape[-1]:
                joined[level] = node.maps
    stages = {**joined, **stages}
    pyramid = {f"pyramid_{2**level}": stages[level] for level in sorted(stages) if level >= _FINEST}
    if not pyramid:
        raise errors.UsageError(
            f"{network.name} has no pyramid: none of its maps is a quarter of the input or smaller."
        )
    return pyramid


def _passed_by_every_path(all_nodes: list[_Node]) -> list[bool]:
    """Tell of each node whether every path from the input to the output goes through it.

    The paths through a node are those that lead to it times those that lead on, counted exactly.
    """
    maker = {id(tensor): place for place, node in enumerate(all_nodes) for tensor in node.outputs}
    before = [0] * len(all_nodes)
    after = [0] * len(all_nodes)
    for place, node in enumerate(all_nodes):
        before[place] = sum(before[maker[id(tensor)]] for tensor in node.inputs) or 1
    after[-1] = 1
    for place in range(len(all_nodes) - 1, -1, -1):
        for tensor in all_nodes[place].inputs:
            after[maker[id(tensor)]] += after[place]
    return [a * b == after[0] for a, b in zip(before, after, strict=True)]


def nodes(network: Any) -> list[_Node]:
    """Return every call of a layer in a network of one input, each after those that it needs."""
    found = [
        _Node(node.operation, list(node.input_tensors), list(node.outputs))
        for depth in sorted(network._nodes_by_depth, reverse=True)
        for node in network._nodes_by_depth[depth]
    ]
    found.sort(key=lambda node: node.kind != "InputLayer")
    return found


def _heights(network: Any, size: int) -> list[int | None]:
    """Return how high each node's maps would be for an input of `size`, in the order of `nodes`."""
    import keras

    heights: list[int | None] = [size]

    def measured(layer: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            result = layer.compute_output_spec(*arguments, **named)
            shape: tuple[Any, ...] = getattr(result, "shape", ())
            heights.append(shape[1] if len(shape) == 4 else None)
            return result

        return call

    network._run_through_graph(keras.KerasTensor((1, size, size, 3)), operation_fn=measured)
    return heights
