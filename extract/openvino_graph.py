"""Transpositions carried through an OpenVINO graph to where they cancel; `openvino_export` makes the graph.

Keras keeps channels last and OpenVINO computes with channels second, so that an exported graph turns its maps
round before and after each convolution and each BatchNorm. That takes most of the time of a small network, and
keeps OpenVINO from drawing BatchNorm into the convolutions. Each rewriting here is an identity: what no rule
covers stays as it was, only slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Axes = tuple[int, ...]

_ALONE = (
    *("Relu", "Clamp", "Elu", "Gelu", "Swish", "HSwish", "Mish", "Sigmoid", "HSigmoid", "SoftPlus", "Tanh"),
    *("Abs", "Negative", "Sqrt", "Exp", "Log", "Erf", "Convert"),
)
"""Operations that treat each number by itself."""

_PAIRED = ("Add", "Subtract", "Multiply", "Divide", "Maximum", "Minimum", "Power", "SquaredDifference")
"""Operations that treat pairs of numbers, NumPy's broadcasting included."""

_REDUCING = ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")


class _Value(NamedTuple):
    """What a node of the old graph yields: `output` of the new one, its axes then put in the order `axes`."""

    output: Any
    axes: Axes


def carry_transpositions(model: Any) -> None:
    """Rewrite `model` in place so that its transpositions cancel wherever that is possible.

    Parameters
    ----------
    model : openvino.Model
        As Keras exports it. Inputs, outputs and values stay the same, up to the rounding of a BatchNorm that is
        written as one product and one sum.
    """
    from openvino import passes

    folding = passes.Manager()
    folding.register_pass(passes.ConstantFolding())
    folding.run_passes(model)
    _Rewriting().run(model)
    folding.run_passes(model)


class _Rewriting:
    """One walk through a graph, from its inputs to its outputs."""

    def __init__(self) -> None:
        import openvino.opset13 as operations

        self._make: Any = operations
        self._values: dict[tuple[str, int], _Value] = {}
        self._turned: dict[tuple[str, int, Axes], Any] = {}
        self._rules: dict[str, Callable[[Any, list[_Value]], _Value | None]] = {
            "Transpose": self._transpose,
            "BatchNormInference": self._batch_norm,
            "Concat": self._concat,
            "Pad": self._pad,
            **dict.fromkeys(_ALONE, self._alone),
            **dict.fromkeys(_PAIRED, self._paired),
            **dict.fromkeys(_REDUCING, self._reduce),
        }

    def run(self, model: Any) -> None:
        for node in model.get_ordered_ops():
            given = [self._values[_key(source)] for source in node.input_values()]
            rule = self._rules.get(node.get_type_name())
            value = rule(node, given) if rule else None
            if value is not None:
                self._values[_key(node.output(0))] = value
                continue
            self._connect(node, [self._turn(*each) for each in given])
            for output in node.outputs():
                self._values[_key(output)] = _Value(output, _in_order(output))
        model.validate_nodes_and_infer_types()

    def _connect(self, node: Any, sources: list[Any]) -> None:
        """Give `node` these inputs, and let it find its new shape, which the nodes after it look at."""
        for target, source in zip(node.inputs(), sources, strict=True):
            target.replace_source_output(source)
        node.validate_and_infer_types()

    def _turn(self, output: Any, axes: Axes) -> Any:
        """Return `output` with its axes put in the order `axes`, as NumPy's transpose does."""
        if axes == tuple(range(len(axes))):
            return output
        key = (*_key(output), axes)
        if key not in self._turned:
            constant = _constant(output)
            if constant is not None:
                turned = self._make.constant(np.ascontiguousarray(constant.transpose(axes)))
            else:
                turned = self._make.transpose(output, self._make.constant(np.array(axes, dtype=np.int64)))
            self._turned[key] = turned.output(0)
        return self._turned[key]

    def _transpose(self, node: Any, given: list[_Value]) -> _Value | None:
        order = _constant(given[1].output)
        if order is None or order.size != len(given[0].axes):
            return None
        return _Value(given[0].output, tuple(given[0].axes[int(axis)] for axis in order))

    def _alone(self, node: Any, given: list[_Value]) -> _Value | None:
        if node.get_type_name() == "Convert" and (
            node.get_output_element_type(0) == node.get_input_element_type(0)
        ):
            return given[0]
        if any(value.output.get_partial_shape().rank.get_length() for value in given[1:]):
            return None
        self._connect(node, [value.output for value in given])
        return _Value(node.output(0), given[0].axes)

    def _paired(self, node: Any, given: list[_Value]) -> _Value | None:
        axes = max((value.axes for value in given), key=lambda axes: (_is_turned(axes), len(axes)))
        sources = [self._as_if(value, axes) for value in given]
        if any(source is None for source in sources):
            return None
        self._connect(node, sources)
        return _Value(node.output(0), axes)

    def _as_if(self, value: _Value, axes: Axes) -> Any | None:
        """Return the output that is `value` when its axes are put in the order `axes`; None if none is."""
        if value.axes == axes:
            return value.output
        output, missing = value.output, len(axes) - len(value.axes)
        constant = _constant(output)
        if missing and constant is not None and missing > 0:
            output = self._make.constant(constant.reshape((1,) * missing + constant.shape)).output(0)
            held: Axes = tuple(range(missing)) + tuple(axis + missing for axis in value.axes)
        elif missing:
            return None
        else:
            held = value.axes
        return self._turn(output, tuple(held[axis] for axis in np.argsort(axes)))

    def _concat(self, node: Any, given: list[_Value]) -> _Value | None:
        turned = [value.axes for value in given if _is_turned(value.axes)]
        if not turned:
            return None
        axes = max(set(turned), key=turned.count)
        sources = [self._as_if(value, axes) for value in given]
        node.set_attribute("axis", axes[int(node.get_attributes()["axis"]) % len(axes)])
        self._connect(node, sources)
        return _Value(node.output(0), axes)

    def _pad(self, node: Any, given: list[_Value]) -> _Value | None:
        axes, amounts = given[0].axes, [_constant(value.output) for value in given[1:3]]
        if not _is_turned(axes) or any(amount is None for amount in amounts):
            return None
        back = np.argsort(axes)
        moved = [self._make.constant(amount[back]).output(0) for amount in amounts if amount is not None]
        self._connect(node, [given[0].output, *moved, *(self._turn(*value) for value in given[3:])])
        return _Value(node.output(0), axes)

    def _reduce(self, node: Any, given: list[_Value]) -> _Value | None:
        axes, over = given[0].axes, _constant(given[1].output)
        if not _is_turned(axes) or over is None:
            return None
        away = {axes[int(axis) % len(axes)] for axis in np.atleast_1d(over)}
        moved = self._make.constant(np.array(sorted(away), dtype=np.int64)).output(0)
        self._connect(node, [given[0].output, moved])
        if node.get_attributes()["keep_dims"]:
            return _Value(node.output(0), axes)
        left = [axis for axis in axes if axis not in away]
        return _Value(node.output(0), tuple(sorted(left).index(axis) for axis in left))

    def _batch_norm(self, node: Any, given: list[_Value]) -> _Value | None:
        """Write γ (x − μ) / √(σ² + ε) + β as one product and one sum, along whichever axis is the channels'."""
        data, *rest = given
        constants = [_constant(value.output) for value in rest]
        if node.get_type_info().version_id != "opset5" or any(array is None for array in constants):
            return None
        gamma, beta, mean, variance = (np.asarray(array, dtype=np.float64) for array in constants)
        scale = gamma / np.sqrt(variance + float(node.get_attributes()["epsilon"]))
        shape = [1] * len(data.axes)
        shape[data.axes[1]] = -1
        dtype = data.output.get_element_type().to_dtype()
        factor, term = (
            self._make.constant(values.astype(dtype).reshape(shape)) for values in (scale, beta - mean * scale)
        )
        total = self._make.add(self._make.multiply(data.output, factor), term)
        return _Value(total.output(0), data.axes)


def _key(output: Any) -> tuple[str, int]:
    return output.get_node().get_name(), output.get_index()


def _in_order(output: Any) -> Axes:
    rank = output.get_partial_shape().rank
    return tuple(range(rank.get_length())) if rank.is_static else ()


def _is_turned(axes: Axes) -> bool:
    return axes != tuple(range(len(axes)))


def _constant(output: Any) -> NDArray[Any] | None:
    node = output.get_node()
    return np.array(node.data) if node.get_type_name() == "Constant" else None
