"""The network on OpenVINO: many times one picture, as many at once as the processor has streams for.

Making the file that is read here is `openvino_export`'s work. Keras is not needed in this process.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import backbones, openvino_export
from .engines import Output, Plan

PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}

_MULTIPLYING = ("Convolution", "MatMul", "FullyConnected")


class OpenVINOEngine:
    """A compiled graph and a queue of requests to it.

    Each request is one picture: on processors that is as quick as any larger batch, needs the least memory, and
    a vector cannot depend on what it is computed with.
    """

    name = "openvino"
    device = "cpu"

    def __init__(self, plan: Plan, batch_size: int, calibration: NDArray[np.float32]) -> None:
        import openvino

        self._scale = backbones.SCALINGS[plan.scaling]
        self.batch_size = max(batch_size, len(calibration))
        core = openvino.Core()
        with openvino_export.exported(plan, self._scale(calibration)) as graph:
            model = core.read_model(graph.file)
            size = plan.size or -1
            model.reshape({model.input(0): [1, size, size, 3]})
            compiled = core.compile_model(model, "CPU", self._settings(plan.precision))
            del model  # on Windows no file can be deleted that is open
        self._names, self._keras = graph.outputs, graph.keras
        self._version = str(openvino.get_version())
        self.precision = precision_of(compiled)
        if self.precision != plan.precision:
            raise errors.UsageError(
                f"On this processor OpenVINO computes in {self.precision}, and {plan.precision} was asked "
                f"for: use --precision {self.precision}."
            )
        shapes = zip(self._names, compiled.outputs, strict=True)
        self.dimensions = {
            name: int(output.get_partial_shape()[1].get_length()) for name, output in shapes if name != "maps"
        }
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(self._collect)
        self._found: list[dict[str, NDArray[np.float32]]] = []

    def _settings(self, precision: str) -> dict[str, Any]:
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "PERFORMANCE_HINT_NUM_REQUESTS": self.batch_size,  # more streams would wait for pictures
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        }
        if (allowed := int(joblib.cpu_count())) < (
            os.cpu_count() or 1
        ):  # of which OpenVINO asks the machine only
            settings["INFERENCE_NUM_THREADS"] = allowed
        return settings

    def run(self, pixels: NDArray[np.float32]) -> Output:
        scaled = np.ascontiguousarray(self._scale(pixels))
        self._found = [{} for _ in scaled]
        for number in range(len(scaled)):
            self._queue.start_async({0: scaled[number : number + 1]}, number, share_inputs=True)
        self._queue.wait_all()
        found, self._found = self._found, []
        arrays = {name: np.concatenate([each[name] for each in found]) for name in self._names}
        maps = arrays.pop("maps")
        return Output(arrays, maps)

    def _collect(self, request: Any, number: int) -> None:
        """Copy what a request found before the next picture overwrites it."""
        tensors = zip(self._names, request.output_tensors, strict=True)
        self._found[number] = {name: np.array(tensor.data, dtype=np.float32) for name, tensor in tensors}

    def libraries(self) -> dict[str, str]:
        return {"openvino": self._version, "keras": self._keras, "numpy": np.__version__}


def precision_of(compiled: Any) -> str:
    """Return the precision in which a compiled graph computes: float32, bfloat16, float16 or another.

    What was asked for and what OpenVINO says that it does are one thing: it accepts bfloat16 on processors that
    cannot. So the operations that are carried out are asked too, and the precision of most of them counts where
    they disagree.
    """
    names = {short: name for name, short in PRECISIONS.items()}
    carried_out = Counter(
        node.get_rt_info()["runtimePrecision"].astype(str)
        for node in compiled.get_runtime_model().get_ops()
        if node.get_rt_info()["layerType"].astype(str) in _MULTIPLYING
    )
    said = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    found = carried_out.most_common(1)[0][0] if carried_out else said
    return names.get(found, found)
