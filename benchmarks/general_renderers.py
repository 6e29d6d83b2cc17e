"""General renderers as yardsticks: one shaded orthographic image per angle of a mesh in memory, without a display.

Each class is made once, which is not timed; a call then renders one frame: (vertices, faces) to images (view, y, x, 3).
A renderer that is not installed, or finds no way to draw here, raises from its constructor.
"""

import os

import numpy as np

WINDOW_MM = 180.0
DISTANCE_MM = 500.0


def camera_axes(angle_deg: float) -> np.ndarray:
    """Columns: right, up and toward the camera, for a face turned by `angle_deg` toward the viewer's right."""
    angle = -np.deg2rad(angle_deg)
    return np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])


class Vtk:
    """VTK with the off-screen window it chooses here, EGL or OSMesa; the GPU's part is done by Mesa in software."""

    def __init__(self, size: int, angles_deg: tuple[float, ...]) -> None:
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
        import vtk
        from vtk.util import numpy_support

        self._vtk, self._numpy, self._size, self._angles = vtk, numpy_support, size, angles_deg
        self._window = vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetSize(size, size)
        self._renderer = vtk.vtkRenderer()
        self._window.AddRenderer(self._renderer)
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._renderer.GetActiveCamera().SetParallelScale(WINDOW_MM / 2)
        self.name = f"VTK {vtk.vtkVersion().GetVTKVersion()} ({self._window.GetClassName()})"

    def __call__(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        vtk = self._vtk
        points, cells, mesh = vtk.vtkPoints(), vtk.vtkCellArray(), vtk.vtkPolyData()
        points.SetData(self._numpy.numpy_to_vtk(vertices))
        cells.SetData(3, self._numpy.numpy_to_vtkIdTypeArray(faces.astype(np.int64).ravel()))
        mesh.SetPoints(points)
        mesh.SetPolys(cells)
        mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
        mapper.SetInputData(mesh)
        actor.SetMapper(mapper)
        self._renderer.AddActor(actor)
        images = [self._view(angle) for angle in self._angles]
        self._renderer.RemoveActor(actor)
        return np.stack(images)

    def _view(self, angle_deg: float) -> np.ndarray:
        camera = self._renderer.GetActiveCamera()
        camera.SetPosition(*DISTANCE_MM * camera_axes(angle_deg)[:, 2])
        camera.SetFocalPoint(0, 0, 0)
        self._renderer.ResetCameraClippingRange()
        self._window.Render()
        pixels = self._vtk.vtkUnsignedCharArray()
        last = self._size - 1
        self._window.GetPixelData(0, 0, last, last, 1, pixels, 0)
        return self._numpy.vtk_to_numpy(pixels).reshape(self._size, self._size, 3)[::-1].copy()


class Pyrender:
    """pyrender over EGL."""

    def __init__(self, size: int, angles_deg: tuple[float, ...]) -> None:
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
        import pyrender
        import trimesh

        self._pyrender, self._trimesh, self._angles = pyrender, trimesh, angles_deg
        self._renderer = pyrender.OffscreenRenderer(size, size)
        self._camera = pyrender.OrthographicCamera(WINDOW_MM / 2, WINDOW_MM / 2, znear=1.0, zfar=2 * DISTANCE_MM)
        self.name = f"pyrender {pyrender.__version__} (EGL)"

    def __call__(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        mesh = self._trimesh.Trimesh(vertices, faces, process=False)
        scene = self._pyrender.Scene(bg_color=(0, 0, 0))
        scene.add(self._pyrender.Mesh.from_trimesh(mesh))
        images = []
        for angle in self._angles:
            pose = np.eye(4)
            pose[:3, :3] = camera_axes(angle)
            pose[:3, 3] = DISTANCE_MM * pose[:3, 2]
            nodes = [
                scene.add(self._camera, pose=pose),
                scene.add(self._pyrender.DirectionalLight(intensity=3.0), pose=pose),
            ]
            color, _ = self._renderer.render(scene)  # pyright: ignore[reportGeneralTypeIssues]
            images.append(color)
            for node in nodes:
                scene.remove_node(node)
        return np.stack(images)


class Embree:
    """Embree through trimesh and embreex: one ray per pixel, shaded by the triangle it meets first."""

    def __init__(self, size: int, angles_deg: tuple[float, ...]) -> None:
        import embreex
        import trimesh
        from trimesh.ray.ray_pyembree import RayMeshIntersector

        self._trimesh, self._intersector, self._angles = trimesh, RayMeshIntersector, angles_deg
        centres = (np.arange(size) + 0.5) * WINDOW_MM / size - WINDOW_MM / 2
        x, y = np.meshgrid(centres, -centres)
        self._shape = x.shape
        self._plane = np.stack([x.ravel(), y.ravel(), np.full(x.size, DISTANCE_MM)], axis=1)
        self.name = f"Embree (embreex {embreex.__version__})"

    def __call__(self, vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
        mesh = self._trimesh.Trimesh(vertices, faces, process=False)
        caster = self._intersector(mesh)
        images = []
        for angle in self._angles:
            axes = camera_axes(angle)
            toward = np.broadcast_to(-axes[:, 2], self._plane.shape)
            triangle = caster.intersects_first(self._plane @ axes.T, toward)
            corners = vertices[faces[triangle]]
            normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
            facing = np.abs(normal @ axes[:, 2]) / np.maximum(np.linalg.norm(normal, axis=1), 1e-12)
            shade = np.where(triangle >= 0, 255 * facing, 0).astype(np.uint8)
            images.append(np.repeat(shade.reshape(*self._shape, 1), 3, axis=2))
        return np.stack(images)


RENDERERS = (Pyrender, Vtk, Embree)
