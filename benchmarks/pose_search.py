"""How long finding a face in any pose takes, beside registering the scan at full cost from every orientation.

Command: python benchmarks/pose_search.py [--repeats 5] [--scans 20]

Both look for the face of one synthetic 35,000-vertex scan in a random pose, at its metric scale, on one core; the
obvious way turns the scan to each of the search's directions, at six rolls, and calls `register` from its likely nose
tips. Printed: CPU seconds of each (the best of the repeats; the obvious way once), their ratio, and each pose's error.
With --scans, also: pose errors and refusals of so many synthetic people in random poses and units, and how many of so
many random terrains in random poses are refused.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from smilevlm.errors import MeshError
from smilevlm.geometry import Mesh, NormaliseSettings, normalise
from smilevlm.geometry.nose import nose_candidates
from smilevlm.geometry.pose_search import search, turn_between_deg, turns
from smilevlm.geometry.sampling import even_points
from smilevlm.geometry.template import register, relief_match
from smilevlm.synthesis.anatomy import anatomy
from smilevlm.synthesis.face_model import head_model
from smilevlm.synthesis.people import draw_person
from smilevlm.synthesis.scanner import ScannerSettings, scan_head
from smilevlm.typing import Vertices

_NUM_NOSES, _NUM_ROLLS = 4, 6
"""A registration converges from about 30 degrees, so rolls 60 degrees apart suffice."""


def scan_in_a_random_pose() -> tuple[Mesh, np.ndarray]:
    """The scan, millimetres, and the turn that was applied to it."""
    model = head_model()
    head = (model.topology.refine @ model.vertices_mm(phenotype={}, shape={}, actions=[{}])[0]).astype(np.float32)
    scan = scan_head(
        np.random.default_rng(0),
        vertices_mm=head - head[anatomy().nose_tip],
        faces=model.topology.fine_faces,
        colors=np.full(head.shape, 128, np.float32),
        landmarks_mm=np.zeros((1, 3), np.float32),
        settings=ScannerSettings(num_vertices=35_000),
    )
    turn = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
    return Mesh(vertices=(scan.head_vertices @ turn.T).astype(np.float32), faces=scan.triangles), turn


def scan_of_a_person(number: int) -> tuple[Mesh, np.ndarray]:
    """A cropped scan with holes in a random pose and a unit of um to m, and the turn that was applied to it."""
    model = head_model()
    rng = np.random.default_rng([53, number])
    sex = "FM"[number % 2]
    person = draw_person(rng, sex=sex, shape_changes=model.shape_changes, facial_actions=model.facial_actions)
    (coarse,) = model.vertices_mm(phenotype=person.phenotype, shape=person.shape, actions=[{}])
    head = person.size * (model.topology.refine @ coarse)
    scan = scan_head(
        rng,
        vertices_mm=(head - head[anatomy().nose_tip]).astype(np.float32),
        faces=model.topology.fine_faces,
        colors=np.full(head.shape, 128, np.float32),
        landmarks_mm=np.zeros((1, 3), np.float32),
        settings=ScannerSettings(num_vertices=int(rng.choice([3000, 8000, 20_000])), hole_size=2.0),
    )
    turn = Rotation.random(rng=rng).as_matrix()
    unit = 10.0 ** -rng.integers(-3, 4)
    return Mesh(vertices=(unit * scan.head_vertices @ turn.T).astype(np.float32), faces=scan.triangles), turn


def terrain(number: int) -> Mesh:
    """Random smooth hills over 190 mm in a random pose, as points."""
    rng = np.random.default_rng([54, number])
    hills = gaussian_filter(rng.normal(size=(110, 110)), rng.choice([2.0, 4.0, 6.0, 9.0, 14.0]))
    x, y = np.meshgrid(np.linspace(-95, 95, 110), np.linspace(-95, 95, 110))
    points = np.stack([x, y, rng.choice([5.0, 10.0, 15.0, 25.0]) * hills / hills.std()], axis=-1).reshape(-1, 3)
    return Mesh(vertices=(points @ Rotation.random(rng=rng).as_matrix().T).astype(np.float32))


def found(mesh: Mesh) -> np.ndarray | None:
    """The rotation found; None where the scan is refused."""
    try:
        return normalise(mesh, NormaliseSettings()).rotation.astype(np.float64)
    except MeshError:
        return None


def print_errors_and_refusals(count: int) -> None:
    errors = []
    for number in range(count):
        mesh, turn = scan_of_a_person(number)
        rotation = found(mesh)
        errors.append(np.inf if rotation is None else turn_between_deg(rotation, turn.T))
    within = ", ".join(f"{np.mean(np.array(errors) < limit):.1%} within {limit} degrees" for limit in (5, 8, 12))
    print(f"people               {count}: {np.isinf(errors).sum()} refused, median {np.median(errors):.1f}, {within}")
    print(f"terrains refused     {sum(found(terrain(number)) is None for number in range(count))} of {count}")


def every_orientation(points: Vertices) -> np.ndarray:
    """The rotation of the best of full registrations from every direction, roll and likely nose tip."""
    best, rotation = -np.inf, np.eye(3)
    for turn in turns(num_rolls=_NUM_ROLLS):
        turned = (points @ turn.T).astype(np.float32)
        for nose in nose_candidates(turned, count=_NUM_NOSES):
            fit = register(turned, nose)
            score = relief_match(turned, fit) + fit.fit_share
            if score > best:
                best, rotation = score, fit.rotation @ turn
    return rotation


def timed(work: Callable[[], object], repeats: int) -> float:
    """The fewest seconds of some runs."""
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scans", type=int, default=0)
    arguments = parser.parse_args()
    repeats = arguments.repeats
    mesh, turn = scan_in_a_random_pose()
    points = even_points(mesh, np.ones(mesh.num_vertices, bool), 16_000)
    few = points[:: len(points) // 5000]
    found = search(points, [1.0])[0].fit.rotation
    ours = timed(lambda: search(points, [1.0]), repeats)
    whole = timed(lambda: normalise(mesh, NormaliseSettings()), repeats)
    register(few, few[0])
    start = time.process_time()
    rotation = every_orientation(few)
    obvious = time.process_time() - start
    print(f"vertices             {mesh.num_vertices}")
    print(f"wide search          {ours:.3f} s, pose error {turn_between_deg(found, turn.T):.1f} degrees")
    print(f"normalise as a whole {whole:.3f} s")
    print(f"every orientation    {obvious:.1f} s, pose error {turn_between_deg(rotation, turn.T):.1f} degrees")
    print(f"ratio                {obvious / ours:.0f}")
    if arguments.scans:
        print_errors_and_refusals(arguments.scans)


if __name__ == "__main__":
    main()
