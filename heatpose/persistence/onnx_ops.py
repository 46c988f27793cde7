"""A builder of ONNX graphs: nodes and constants, with the types of their outputs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partialmethod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

__all__ = ["BOOL", "F32", "F64", "I32", "I64", "Graph", "Value"]

F32, F64, I32, I64, BOOL = (np.dtype(kind) for kind in ("float32", "float64", "int32", "int64", "bool"))


@dataclass(frozen=True)
class Value:
    """A tensor in the graph: its name and the type of its elements."""

    name: str
    dtype: np.dtype


class Graph:
    """A graph under construction of a model with so many classes; every method adds a node and returns its output."""

    def __init__(self, n_classes: int = 0) -> None:
        self.n_classes = n_classes
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._known: dict[Any, Value] = {}
        self._named = 0

    def constant(self, array: Any, dtype: np.dtype | None = None) -> Value:
        """Add an array; equal arrays are stored once."""
        array = np.asarray(array) if dtype is None else np.asarray(array, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._known:
            name = f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
            self._known[key] = Value(name, array.dtype)
        return self._known[key]

    def op(
        self, kind: str, *inputs: Value, dtype: np.dtype | None = None, domain: str = "", name: str = "", **options: Any
    ) -> Value:
        """Add a node; its type is that of the first input unless `dtype` says otherwise."""
        self._named += 1
        output = name or f"{kind}_{self._named}"
        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(kind, names, [output], name=output, domain=domain, **options))
        return Value(output, inputs[0].dtype if dtype is None else dtype)

    def cast(self, value: Value, dtype: np.dtype) -> Value:
        """Convert to another type if needed."""
        if value.dtype == dtype:
            return value
        return self.op("Cast", value, dtype=dtype, to=helper.np_dtype_to_tensor_dtype(dtype))

    def like(self, number: Any, value: Value) -> Value:
        """Add a constant of the type of a value."""
        return self.constant(number, value.dtype)

    def binary(self, kind: str, first: Value, second: Any, **options: Any) -> Value:
        """Add a node with two inputs of one type; the second can be a number."""
        return self.op(kind, first, second if isinstance(second, Value) else self.like(second, first), **options)

    add = partialmethod(binary, "Add")
    sub = partialmethod(binary, "Sub")
    mul = partialmethod(binary, "Mul")
    div = partialmethod(binary, "Div")
    greater = partialmethod(binary, "Greater", dtype=BOOL)
    matmul = partialmethod(op, "MatMul")
    concat = partialmethod(op, "Concat")

    def where(self, condition: Value, first: Value, second: Any) -> Value:
        """Select `first` where the condition holds, `second` elsewhere."""
        second = second if isinstance(second, Value) else self.like(second, first)
        return self.op("Where", condition, first, second, dtype=first.dtype)

    def gather(self, value: Value, index: Any, axis: int) -> Value:
        """Select elements along an axis by their positions."""
        index = index if isinstance(index, Value) else self.constant(index, I64)
        return self.op("Gather", value, index, axis=axis)

    def slice(self, value: Value, start: int, end: int, axis: int) -> Value:
        """Select the elements from start to end along an axis."""
        return self.op("Slice", value, *(self.constant([number], I64) for number in (start, end, axis)))

    def split(self, value: Value, *sizes: int, axis: int) -> list[Value]:
        """Split along an axis into parts of these sizes."""
        self._named += 1
        outputs = [f"Split_{self._named}_{i}" for i in range(len(sizes))]
        inputs = [value.name, self.constant(sizes, I64).name]
        self.nodes.append(helper.make_node("Split", inputs, outputs, name=f"Split_{self._named}", axis=axis))
        return [Value(output, value.dtype) for output in outputs]

    def smallest(self, value: Value, count: int, axis: int, **options: Any) -> tuple[Value, Value]:
        """Return the smallest elements along an axis, and their positions."""
        self._named += 1
        outputs = [f"TopK_{self._named}_{part}" for part in ("values", "places")]
        inputs = [value.name, self.constant([count], I64).name]
        self.nodes.append(helper.make_node("TopK", inputs, outputs, axis=axis, largest=0, **options))
        return Value(outputs[0], value.dtype), Value(outputs[1], I64)

    def reduce(self, kind: str, value: Value, axis: int, keepdims: bool = True) -> Value:
        """Reduce an axis to one element, or remove it."""
        return self.op(f"Reduce{kind}", value, self.constant([axis], I64), keepdims=int(keepdims))

    def reshape(self, value: Value, *shape: int) -> Value:
        """Change the shape: 0 keeps an extent, -1 is inferred."""
        return self.op("Reshape", value, self.constant(shape, I64))
