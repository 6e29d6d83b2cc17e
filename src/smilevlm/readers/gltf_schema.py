"""What is read of a glTF 2.0 document, field by field; what is not named here is passed over.

Source: Khronos, glTF 2.0 specification, section 5. Import this module inside functions: pydantic takes a moment.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Index = Annotated[int, Field(ge=0, lt=2**31)]
Size = Annotated[int, Field(ge=0, lt=2**53)]
T = TypeVar("T")
Many = Annotated[list[T], Field(fail_fast=True)]
"""Validated up to the first fault: a hostile file may have millions."""
Vector2 = tuple[float, float]
Vector3 = tuple[float, float, float]


class Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="ignore", frozen=True, allow_inf_nan=False)


class Asset(Part):
    version: str = "2.0"


class Buffer(Part):
    uri: str | None = None
    extensions: dict[str, Any] = {}


class BufferView(Part):
    buffer: Index
    byte_offset: Size = 0
    byte_length: Size
    byte_stride: Annotated[int, Field(ge=1, le=1024)] | None = None
    extensions: dict[str, Any] = {}


class SparseIndices(Part):
    buffer_view: Index
    byte_offset: Size = 0
    component_type: int


class SparseValues(Part):
    buffer_view: Index
    byte_offset: Size = 0


class Sparse(Part):
    count: Index
    indices: SparseIndices
    values: SparseValues


class Accessor(Part):
    buffer_view: Index | None = None
    byte_offset: Size = 0
    component_type: int
    normalized: bool = False
    count: Index
    type: str
    sparse: Sparse | None = None


class Primitive(Part):
    attributes: dict[str, Index]
    indices: Index | None = None
    material: Any = None
    mode: int = 4
    targets: Many[dict[str, Index]] = []
    extensions: dict[str, Any] = {}


class MeshPart(Part):
    primitives: Many[Primitive]
    weights: Many[float] = []


class Node(Part):
    """`matrix` is written column by column; `rotation` is a quaternion x y z w."""

    children: Many[Index] = []
    mesh: Index | None = None
    skin: Index | None = None
    matrix: Annotated[list[float], Field(min_length=16, max_length=16, fail_fast=True)] | None = None
    translation: Vector3 = (0, 0, 0)
    rotation: tuple[float, float, float, float] = (0, 0, 0, 1)
    scale: Vector3 = (1, 1, 1)
    weights: Many[float] | None = None


class Skin(Part):
    joints: Many[Index]
    inverse_bind_matrices: Index | None = None


class Scene(Part):
    nodes: Many[Index] = []


class Document(Part):
    """All that the surface is made of."""

    asset: Asset = Asset()
    scene: Index | None = None
    scenes: Many[Scene] = []
    nodes: Many[Node] = []
    meshes: Many[MeshPart] = []
    skins: Many[Skin] = []
    accessors: Many[Accessor] = []
    buffer_views: Many[BufferView] = []
    buffers: Many[Buffer] = []


class TextureTransform(Part):
    """The extension KHR_texture_transform; `rotation` in radians."""

    offset: Vector2 = (0, 0)
    rotation: float = 0
    scale: Vector2 = (1, 1)
    tex_coord: Index | None = None


class TextureExtensions(Part):
    texture_transform: TextureTransform | None = Field(default=None, alias="KHR_texture_transform")


class TextureInfo(Part):
    index: Index
    tex_coord: Index = 0
    extensions: TextureExtensions = TextureExtensions()


class MetallicRoughness(Part):
    base_color_texture: TextureInfo | None = None


class SpecularGlossiness(Part):
    diffuse_texture: TextureInfo | None = None


class MaterialExtensions(Part):
    specular_glossiness: SpecularGlossiness | None = Field(default=None, alias="KHR_materials_pbrSpecularGlossiness")


class Material(Part):
    pbr_metallic_roughness: MetallicRoughness = MetallicRoughness()
    extensions: MaterialExtensions = MaterialExtensions()


class Texture(Part):
    source: Index | None = None


class Image(Part):
    uri: str | None = None
    buffer_view: Index | None = None


class Appearance(Part):
    """Materials and images of the same document: a fault in them costs the texture, not the surface."""

    materials: Many[Material] = []
    textures: Many[Texture] = []
    images: Many[Image] = []
