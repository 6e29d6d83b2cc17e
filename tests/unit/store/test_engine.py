"""The engine: the same calls on processes and on a dask cluster, and what is said when a process dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import mock

import pytest

from smilevlm.errors import MissingExtraError, StoreError
from smilevlm.store import prepare
from smilevlm.store.engine import run_everywhere


def touch(folder: Path, name: str) -> None:
    (folder / name).write_text(name)


def die_once(folder: Path, name: str) -> None:
    """Kills its own process the first time it is called."""
    try:
        (folder / "died").touch(exist_ok=False)  # of two at once one alone succeeds
    except FileExistsError:
        touch(folder, name)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def die(folder: Path, name: str) -> None:
    del folder, name
    os.kill(os.getpid(), signal.SIGKILL)


def calls(folder: Path, count: int) -> list[tuple[Path, str]]:
    return [(folder, f"call{number}") for number in range(count)]


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_call_is_made_once_and_named_when_done(tmp_path, jobs):
    done = list(run_everywhere(touch, calls(tmp_path, 5), jobs=jobs, scheduler=None))
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"call{n}" for n in range(5)]


def test_nothing_to_do(tmp_path):
    assert list(run_everywhere(touch, [], jobs=2, scheduler="tcp://nowhere:1")) == []


def test_a_killed_process_is_explained(tmp_path):
    with pytest.raises(StoreError, match="killed, most often for want of memory; run again to go on"):
        list(run_everywhere(die, calls(tmp_path, 2), jobs=2, scheduler=None))


def test_without_the_extra_its_name_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtraError, match=r"smilevlm\[distributed\]"):
        list(run_everywhere(touch, calls(tmp_path, 1), jobs=1, scheduler="tcp://127.0.0.1:1"))


@pytest.fixture
def cluster():
    distributed = pytest.importorskip("distributed")
    # dask's own machinery warns of much that is not ours, in threads of its own, and leaves the environment variables
    # that it sets for its workers.
    with (
        mock.patch.dict(os.environ),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None
        ) as made,
    ):
        yield made


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_gives_the_same_store(cluster, synthetic_faces, prepared_store, small_store_settings, tmp_path):
    from smilevlm.datasets import index_data_set

    index = index_data_set("bu3dfe", synthetic_faces)
    prepare(
        index.recordings,
        tmp_path / "store",
        small_store_settings,
        layout="bu3dfe",
        synthetic=True,
        scheduler=cluster.scheduler_address,
    )
    for path in prepared_store.rglob("*"):
        if path.is_file():
            assert (tmp_path / "store" / path.relative_to(prepared_store)).read_bytes() == path.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_killed_worker_of_a_cluster_is_replaced(cluster, tmp_path):
    done = list(run_everywhere(die_once, calls(tmp_path, 6), jobs=1, scheduler=cluster.scheduler_address))
    assert sorted(done) == list(range(6))
    assert len(list(tmp_path.glob("call*"))) == 6
