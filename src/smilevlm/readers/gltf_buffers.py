"""The bytes of a glTF file: the container, its buffers, and arrays over them (accessors)."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float32, Int64, Shaped

from smilevlm.errors import MeshError
from smilevlm.readers._source import Source
from smilevlm.readers.archives import read_file
from smilevlm.readers.textures import basename, find_beside

if TYPE_CHECKING:
    from smilevlm.readers.gltf_schema import Accessor, Document

MAGIC = b"glTF"
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
COMPRESSIONS = ("KHR_draco_mesh_compression", "EXT_meshopt_compression", "KHR_meshopt_compression")
_HEADER, _CHUNK = struct.Struct("<4s2I"), struct.Struct("<I4s")
_OBJECT_BYTES, _LIST_BYTES, _VALUE_BYTES = 1500, 100, 50
"""Of memory for a JSON object, list and value, at most."""

T = TypeVar("T")


def split_container(source: Source) -> tuple[dict[str, Any], bytes | None]:
    """The JSON document of a `.gltf` or `.glb` file, and the binary chunk of the latter; it may be cut short."""
    text, chunk = source.data, None
    if source.data.startswith(MAGIC):
        chunks = _chunks(source)
        if b"JSON" not in chunks:
            raise source.byte_error("no JSON chunk, expected it first", min(source.size, _HEADER.size))
        text, chunk = chunks[b"JSON"], chunks.get(b"BIN\0")
    braces, brackets, commas = (text.count(mark) for mark in (b"{", b"[", b","))
    source.require_memory(_OBJECT_BYTES * braces + _LIST_BYTES * brackets + _VALUE_BYTES * commas)
    try:
        document = json.loads(text.decode("utf-8"))
    except RecursionError as error:
        raise source.error("the JSON of the glTF file is nested too deep") from error
    except json.JSONDecodeError as error:
        line = error.lineno if text is source.data else None
        raise MeshError(f"no glTF file: its JSON is broken: {error.msg}", path=source.path, line=line) from error
    except ValueError as error:  # no UTF-8; a number of thousands of digits
        raise source.error(f"no glTF file: its JSON is broken: {error}") from error
    if not isinstance(document, dict):
        raise source.error("no glTF file: its JSON is no object")
    return document, chunk


def _chunks(source: Source) -> dict[bytes, bytes]:
    if source.size < _HEADER.size:
        raise source.byte_error(f"the file ends within its header of {_HEADER.size} bytes", source.size)
    _, version, _ = _HEADER.unpack_from(source.data)
    if version != 2:
        raise source.byte_error(f"glTF of version {version}, only 2 is read; open and export it with Blender", 4)
    found: dict[bytes, bytes] = {}
    position = _HEADER.size
    while position + _CHUNK.size <= source.size:
        length, kind = _CHUNK.unpack_from(source.data, position)
        position += _CHUNK.size
        found.setdefault(kind, source.data[position : position + length])
        position += length
        if len(found) > 16:
            raise source.byte_error("more than 16 kinds of chunks, expected JSON and BIN", position)
    return found


def _is_data(uri: str) -> bool:
    return uri[:5].lower() == "data:"


class Buffers:
    """Arrays over the buffers of one file; counts the memory that was asked for."""

    def __init__(self, source: Source, document: Document, chunk: bytes | None) -> None:
        self._source = source
        self._document = document
        self._chunk = chunk
        self._loaded: dict[int, memoryview] = {}
        self._bytes_beside = 0
        self._bytes_asked = 0

    def error(self, message: str) -> MeshError:
        return self._source.error(message)

    def item(self, items: Sequence[T], index: int, what: str) -> T:
        """An element of one of the document's lists."""
        if index >= len(items):
            raise self.error(f"{what} {index} is named, there are {len(items)}")
        return items[index]

    def require_memory(self, num_bytes: int) -> None:
        """Count memory, however often the file names the same bytes."""
        self._bytes_asked += num_bytes
        self._source.require_memory(self._bytes_asked, bytes_beside=self._bytes_beside)

    def is_empty(self, index: int) -> bool:
        """Whether an accessor has no bytes of its own: all zeros, or filled by an extension."""
        accessor = self.item(self._document.accessors, index, "accessor")
        return accessor.buffer_view is None and accessor.sparse is None

    def count(self, index: int) -> int:
        """The number of elements of an accessor."""
        return self.item(self._document.accessors, index, "accessor").count

    def array(self, index: int, types: Sequence[str]) -> Shaped[np.ndarray, "item width"]:
        """The numbers of an accessor as they are stored, where it is of one of the types (`SCALAR`, `VEC2`, ...)."""
        accessor = self.item(self._document.accessors, index, "accessor")
        if accessor.type not in types or accessor.component_type not in COMPONENTS:
            raise self.error(
                f"accessor {index} is {accessor.type} of component type {accessor.component_type}, expected "
                f"{' or '.join(types)} of {', '.join(map(str, COMPONENTS))}"
            )
        dtype, width = np.dtype(COMPONENTS[accessor.component_type]), WIDTHS[accessor.type]
        if accessor.buffer_view is not None:
            values = self._strided(accessor.buffer_view, accessor.byte_offset, accessor.count, dtype, width)
        else:
            self.require_memory(accessor.count * width * dtype.itemsize)
            values = np.zeros((accessor.count, width), dtype)
        return values if accessor.sparse is None else self._replaced(values, accessor, index)

    def floats(self, index: int, types: Sequence[str]) -> Float32[np.ndarray, "item width"]:
        """The numbers of an accessor as float32; normalised integers become -1 to 1 or 0 to 1."""
        raw = self.array(index, types)
        self.require_memory(4 * raw.size)
        values = raw.astype(np.float32)
        if self._document.accessors[index].normalized and raw.dtype.kind in "iu":
            values = np.maximum(values / np.float32(np.iinfo(raw.dtype).max), np.float32(-1))
        return values

    def indices(self, index: int) -> Int64[np.ndarray, " item"]:
        """Whole numbers of an accessor."""
        raw = self.array(index, ("SCALAR",))
        if raw.dtype.kind == "f":
            raise self.error(f"accessor {index} holds floating-point numbers, expected whole ones")
        self.require_memory(8 * raw.size)
        return raw[:, 0].astype(np.int64)

    def view(self, index: int) -> memoryview:
        """The bytes of a buffer view."""
        view = self.item(self._document.buffer_views, index, "buffer view")
        data = self._buffer(view.buffer, view.extensions)
        stop = view.byte_offset + view.byte_length
        if stop > len(data):
            raise self.error(f"buffer view {index} ends at byte {stop}, buffer {view.buffer} has {len(data)} bytes")
        return data[view.byte_offset : stop]

    def load(self, uri: str) -> bytes:
        """The bytes of a `data:` URI or of a file beside the glTF file."""
        if _is_data(uri):
            head, comma, body = uri.partition(",")
            if not comma or not head.lower().endswith(";base64"):
                raise self.error("a data URI without base64, which is not read")
            try:
                return base64.b64decode(body)
            except ValueError as error:  # binascii.Error, or no ASCII
                raise self.error(f"a data URI cannot be decoded: {error}") from error
        name = unquote(uri)
        parts = name.replace("\\", "/").split("/")
        is_inside = not name.startswith(("/", "\\")) and ".." not in parts and "\0" not in name and ":" not in parts[0]
        found = find_beside(self._source.path, [*([name] if is_inside else []), basename(name)])
        if found is None:
            raise self.error(f"{name[:80]!r} is not beside the file; keep the parts of a .gltf together, or use .glb")
        return read_file(found)

    def refuse_compression(self, extensions: Iterable[str]) -> None:
        """Say what to do with numbers that are there in compressed form alone."""
        for name in COMPRESSIONS:
            if name in extensions:
                raise self.error(
                    f"the mesh is compressed ({name}), which is not read; export it without mesh compression "
                    "(Blender's glTF export: untick Compression), or as PLY or OBJ"
                )

    def _buffer(self, index: int, view_extensions: Iterable[str]) -> memoryview:
        if index not in self._loaded:
            buffer = self.item(self._document.buffers, index, "buffer")
            if buffer.uri is not None:
                data = self.load(buffer.uri)
                self._bytes_beside += 0 if _is_data(buffer.uri) else len(data)
            elif index == 0 and self._chunk is not None and not buffer.extensions:
                data = self._chunk
            else:
                self.refuse_compression([*view_extensions, *buffer.extensions])
                raise self.error(f"buffer {index} has no bytes")
            self._loaded[index] = memoryview(data)
        return self._loaded[index]

    def _strided(self, view_index: int, offset: int, count: int, dtype: np.dtype, width: int) -> np.ndarray:
        data = self.view(view_index)
        row_bytes = width * dtype.itemsize
        stride = self._document.buffer_views[view_index].byte_stride or row_bytes
        if count and offset + (count - 1) * stride + row_bytes > len(data):
            raise self.error(
                f"{count} elements of {row_bytes} bytes announced in buffer view {view_index} of {len(data)} bytes"
            )
        strides = (stride, dtype.itemsize)
        return np.ndarray((count, width), dtype, data, offset if count else 0, strides)

    def _replaced(self, values: np.ndarray, accessor: Accessor, index: int) -> np.ndarray:
        sparse = accessor.sparse
        assert sparse is not None
        code = COMPONENTS.get(sparse.indices.component_type, "")
        if code not in ("<u1", "<u2", "<u4"):
            raise self.error(f"the sparse indices of accessor {index} are no unsigned whole numbers")
        places = self._strided(
            sparse.indices.buffer_view, sparse.indices.byte_offset, sparse.count, np.dtype(code), 1
        ).ravel()
        if len(places) and places.max() >= len(values):
            raise self.error(f"accessor {index} replaces element {places.max()}, it has {len(values)}")
        new = self._strided(
            sparse.values.buffer_view, sparse.values.byte_offset, sparse.count, values.dtype, values.shape[1]
        )
        self.require_memory(values.nbytes)
        values = values.copy()
        values[places] = new
        return values
