"""File bytes to and from `Mesh`, landmarks and label tables. One file per format; numba is loaded on first use."""

from smilevlm.readers.archives import file_size, is_file, is_folder, list_folder, list_names, read_file
from smilevlm.readers.au_tables import AuTable, read_au_table, write_au_table
from smilevlm.readers.bndplus import read_bndplus
from smilevlm.readers.bnt import find_v_direction, write_bnt
from smilevlm.readers.bosphorus_landmarks import BOSPHORUS_LABELS, read_lm2, read_lm3, write_lm2, write_lm3
from smilevlm.readers.files import MESH_SUFFIXES, POINT_SUFFIXES, decode_file, parse_mesh, read_mesh, write_mesh
from smilevlm.readers.fourdme_labels import (
    FOURDME_COLUMNS,
    ActionUnit,
    MicroClip,
    MicroLabels,
    read_4dme_labels,
)
from smilevlm.readers.landmarks import (
    BndLandmarks,
    PseLandmarks,
    read_bnd,
    read_landmarks,
    read_pse,
    write_bnd,
    write_pse,
)
from smilevlm.readers.obj import write_mtl, write_obj
from smilevlm.readers.off import write_off
from smilevlm.readers.ply import write_ply
from smilevlm.readers.scan_tree import (
    ARCHIVE_SUFFIX,
    FolderVisits,
    PassedOver,
    ScanFolder,
    archive_fault,
    choose_meshes,
    is_hidden,
    note_tables,
    repeated_links,
    some,
    walk_scans,
)
from smilevlm.readers.stl import write_stl
from smilevlm.readers.suffixes import mesh_stem, mesh_suffix
from smilevlm.readers.textures import read_texture
from smilevlm.readers.vertex_counts import announced_vertices
from smilevlm.readers.vrml_writer import write_bu3dfe_vrml, write_bu4dfe_vrml
from smilevlm.readers.workbooks import CellValue, SheetRow, read_workbook, write_workbook

__all__ = [
    "ARCHIVE_SUFFIX",
    "BOSPHORUS_LABELS",
    "FOURDME_COLUMNS",
    "MESH_SUFFIXES",
    "POINT_SUFFIXES",
    "ActionUnit",
    "AuTable",
    "BndLandmarks",
    "CellValue",
    "FolderVisits",
    "MicroClip",
    "MicroLabels",
    "PassedOver",
    "PseLandmarks",
    "ScanFolder",
    "SheetRow",
    "announced_vertices",
    "archive_fault",
    "choose_meshes",
    "decode_file",
    "file_size",
    "find_v_direction",
    "is_file",
    "is_folder",
    "is_hidden",
    "list_folder",
    "list_names",
    "mesh_stem",
    "mesh_suffix",
    "note_tables",
    "parse_mesh",
    "read_4dme_labels",
    "read_au_table",
    "read_bnd",
    "read_bndplus",
    "read_file",
    "read_landmarks",
    "read_lm2",
    "read_lm3",
    "read_mesh",
    "read_pse",
    "read_texture",
    "read_workbook",
    "repeated_links",
    "some",
    "walk_scans",
    "write_au_table",
    "write_bnd",
    "write_bnt",
    "write_bu3dfe_vrml",
    "write_bu4dfe_vrml",
    "write_lm2",
    "write_lm3",
    "write_mesh",
    "write_mtl",
    "write_obj",
    "write_off",
    "write_ply",
    "write_pse",
    "write_stl",
    "write_workbook",
]
