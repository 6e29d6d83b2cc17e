"""File bytes to and from `Mesh`, landmarks and label tables. One file per format; numba is loaded on first use.

What is wrong with a file is raised with its path and its line (text) or byte offset (binary): as `MeshError` for
scans, textures and archives, `LandmarkError` for landmarks, `TableError` for label tables and workbooks. So is a file
that is missing, empty, a folder, or describes far more data than it has bytes. What can be left out of a scan (invalid
vertices, faces that name missing ones, a last row that was cut, broken texture coordinates and colours) becomes a
remark of the mesh; above a stated share of the file it is an error.

Each `read_<format>` takes the bytes of a whole file and its path, for messages and to find textures beside it; with
`load_texture=False` no image is read. A `write_<format>` takes a file opened for text or bytes.
"""

from smilevlm.readers.action_tables import ACTIONS_NAME, RecordedActions, action_table, read_action_table
from smilevlm.readers.archives import file_size, is_file, is_folder, list_folder, list_names, read_file
from smilevlm.readers.au_tables import AU_UNKNOWN, AuTable, read_au_intensities, read_au_table, write_au_table
from smilevlm.readers.bnt import BNT_BACKGROUND, VDirection, find_v_direction, write_bnt
from smilevlm.readers.file_kinds import announced_vertices, mesh_stem, mesh_suffix
from smilevlm.readers.files import MESH_SUFFIXES, POINT_SUFFIXES, decode_file, parse_mesh, read_mesh, write_mesh
from smilevlm.readers.fourdme_labels import FOURDME_COLUMNS, ActionUnit, MicroClip, MicroLabels, read_4dme_labels
from smilevlm.readers.landmarks import (
    BOSPHORUS_LABELS,
    PSE_BND_NUMBERS,
    BndLandmarks,
    PseLandmarks,
    read_bnd,
    read_bndplus,
    read_landmarks,
    read_lm2,
    read_lm3,
    read_pse,
    write_bnd,
    write_lm2,
    write_lm3,
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
from smilevlm.readers.textures import TEXTURE_SUFFIXES, find_beside, read_texture
from smilevlm.readers.vrml_writer import write_bu3dfe_vrml, write_bu4dfe_vrml
from smilevlm.readers.workbooks import CellValue, SheetRow, read_workbook, write_workbook

__all__ = [
    "ACTIONS_NAME", "ARCHIVE_SUFFIX", "AU_UNKNOWN", "BNT_BACKGROUND", "BOSPHORUS_LABELS", "FOURDME_COLUMNS",
    "MESH_SUFFIXES", "POINT_SUFFIXES", "PSE_BND_NUMBERS", "TEXTURE_SUFFIXES", "ActionUnit", "AuTable", "BndLandmarks",
    "CellValue", "FolderVisits", "MicroClip", "MicroLabels", "PassedOver", "PseLandmarks", "RecordedActions",
    "ScanFolder", "SheetRow", "VDirection", "action_table", "announced_vertices", "archive_fault", "choose_meshes",
    "decode_file", "file_size", "find_beside", "find_v_direction", "is_file", "is_folder", "is_hidden", "list_folder",
    "list_names", "mesh_stem", "mesh_suffix", "note_tables", "parse_mesh", "read_4dme_labels", "read_action_table",
    "read_au_intensities", "read_au_table", "read_bnd", "read_bndplus", "read_file", "read_landmarks", "read_lm2",
    "read_lm3", "read_mesh", "read_pse", "read_texture", "read_workbook", "repeated_links", "some", "walk_scans",
    "write_au_table", "write_bnd", "write_bnt", "write_bu3dfe_vrml", "write_bu4dfe_vrml", "write_lm2", "write_lm3",
    "write_mesh", "write_mtl", "write_obj", "write_off", "write_ply", "write_pse", "write_stl", "write_workbook",
]  # fmt: skip
