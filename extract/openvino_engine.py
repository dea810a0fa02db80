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
        self._core = openvino.Core()
        with openvino_export.exported(plan, self._scale(calibration)) as graph:
            self._model = self._core.read_model(graph.file)
        size = plan.size or -1
        self._model.reshape({self._model.input(0): [1, size, size, 3]})
        self._settings = self._settings_for(plan.precision)
        self._names, self._keras = graph.outputs, graph.keras
        self._version = str(openvino.get_version())
        compiled = self._start()
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

    def _settings_for(self, precision: str) -> dict[str, Any]:
        settings = {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "PERFORMANCE_HINT_NUM_REQUESTS": self.batch_size,  # more streams would wait for pictures
            "ENABLE_CPU_PINNING": False,  # threads that decode share these processors
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
        }
        allowed = int(joblib.cpu_count())
        if allowed < (os.cpu_count() or 1):  # a container's share, say, which OpenVINO does not look at
            settings["INFERENCE_NUM_THREADS"] = allowed
        return settings

    def _start(self) -> Any:
        """Compile the graph and make its queue of requests."""
        import openvino

        compiled = self._core.compile_model(self._model, "CPU", self._settings)
        self._queue = openvino.AsyncInferQueue(compiled)
        self._queue.set_callback(self._collect)
        return compiled

    def run(self, pixels: NDArray[np.float32]) -> Output:
        scaled = np.ascontiguousarray(self._scale(pixels))
        found: list[dict[str, NDArray[np.float32]]] = [{} for _ in scaled]
        try:
            for picture, vectors in zip(scaled, found, strict=True):
                self._queue.start_async({0: picture[None]}, (picture, vectors), share_inputs=True)
            self._queue.wait_all()
        except RuntimeError:
            self._start()  # what failed once, such as for want of memory, fails for smaller pictures too
            raise
        arrays = {name: np.concatenate([each[name] for each in found]) for name in self._names}
        maps = arrays.pop("maps")
        return Output(arrays, maps)

    def _collect(self, request: Any, given: tuple[Any, dict[str, NDArray[np.float32]]]) -> None:
        """Copy what a request found, before the next picture overwrites it, to where its own run looks."""
        _, vectors = given
        for name, tensor in zip(self._names, request.output_tensors, strict=True):
            vectors[name] = np.array(tensor.data, dtype=np.float32)

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
