"""A Dask cluster gives the results of one machine, whatever becomes of its workers."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from distributed import Client, LocalCluster

from dropout_course.course import find_lesson
from dropout_course.grading import judging
from dropout_course.grading.cluster import ClusterError, ClusterRunner, Patience
from dropout_course.grading.runner import Runner
from dropout_course.grading.sandbox import choose
from dropout_course.grading.work import CodeCell, Recorded, Status, Work
from tests.grading.submissions import bwrap_or_skip

LESSON = find_lesson("00")
RIGHT = "def keep_probability(p):\n    return 1 - p"
WRONG = "def keep_probability(p):\n    return p"
SANDBOX = "bwrap"


@pytest.fixture(scope="module", autouse=True)
def _sandbox() -> None:
    bwrap_or_skip()


def work(student: str, source: str, *, timeout: float = 60.0) -> Work:
    asked = judging.ask(LESSON, student, seed=1)
    return Work(student, LESSON.id, (CodeCell(source),), asked, timeout)


def scores(results: dict[str, tuple[Work, Recorded]]) -> dict[str, float]:
    return {
        student: judging.total(judging.judge(LESSON, done.asked, recorded.records)[1])[0]
        for student, (done, recorded) in results.items()
    }


def collected(
    runner: ClusterRunner | Runner, works: list[Work]
) -> dict[str, tuple[Work, Recorded]]:
    return {done.student: (done, recorded) for done, recorded in runner.run(works)}


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process with one thread, that a nanny starts again when they are lost."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster


def some(number: int) -> list[Work]:
    return [work(f"s{n:02}", RIGHT if n % 3 else WRONG) for n in range(number)]


def close_after_the_first(cluster: LocalCluster, runner: ClusterRunner) -> None:
    with runner:
        for number, _ in enumerate(runner.run(some(50))):
            if number == 0:
                cluster.close()


def test_a_cluster_gives_the_results_of_one_machine(cluster: LocalCluster) -> None:
    works = some(8)
    with ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner:
        remote = collected(runner, works)
    with Runner(workers=1, sandbox=choose(SANDBOX)) as runner:
        local = collected(runner, works)
    assert scores(remote) == scores(local)
    assert {one.student for one in works} == remote.keys()
    # Recorded with the same seeds, the bytes are the same, too.
    assert all(remote[s][1].records == local[s][1].records for s in remote)


def test_what_a_submission_does_to_its_process_is_its_own_status(cluster: LocalCluster) -> None:
    works = [work("quits", "import os\nos._exit(3)"), work("sleeps", "while True: pass", timeout=4)]
    with ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner:
        results = collected(runner, [*works, work("fine", RIGHT)])
    statuses = {student: recorded.status for student, (_, recorded) in results.items()}
    assert statuses == {
        "quits": Status.CRASHED,
        "sleeps": Status.TIMED_OUT,
        "fine": Status.GRADED,
    }


def test_a_worker_killed_halfway_costs_no_submission(cluster: LocalCluster) -> None:
    works = some(10)
    seen: dict[str, Recorded] = {}
    with ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner:
        for done, recorded in runner.run(works):
            if len(seen) == 2:
                kill_a_worker(cluster, signal.SIGKILL)
            assert done.student not in seen
            seen[done.student] = recorded
    assert seen.keys() == {one.student for one in works}
    assert {recorded.status for recorded in seen.values()} == {Status.GRADED}


def test_a_worker_that_hangs_is_passed_over() -> None:
    works = [work(f"s{n}", RIGHT, timeout=2) for n in range(5)]
    seen: dict[str, Recorded] = {}
    stopped = 0
    patience = Patience(scheduler=5, grace=8)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX, patience=patience) as runner:
            for done, recorded in runner.run(works):
                seen[done.student] = recorded
                if len(seen) == 1:
                    stopped = kill_a_worker(cluster, signal.SIGSTOP)
        os.kill(stopped, signal.SIGKILL)
    assert seen.keys() == {one.student for one in works}
    assert {recorded.status for recorded in seen.values()} == {Status.GRADED}, seen


def kill_a_worker(cluster: LocalCluster, number: signal.Signals) -> int:
    """Send a worker a signal; return its process id."""
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        pids: dict[str, int] = client.run(os.getpid)
    pid = next(iter(pids.values()))
    os.kill(pid, number)
    return pid


def test_workers_that_join_later_take_part() -> None:
    with (
        LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=None) as cluster,
        ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner,
    ):
        threading.Timer(2, cluster.scale, args=(1,)).start()
        assert scores(collected(runner, some(2))) == {"s00": 0, "s01": 1}


def test_a_scheduler_that_does_not_answer_is_said_in_a_sentence() -> None:
    runner = ClusterRunner("tcp://127.0.0.1:9", sandbox=SANDBOX, patience=Patience(scheduler=1))
    with (
        pytest.raises(ClusterError, match=r"No Dask scheduler answers at tcp://127.0.0.1:9"),
        runner,
    ):
        pass


def test_a_cluster_without_workers_is_said_in_a_sentence() -> None:
    with (
        LocalCluster(n_workers=0, dashboard_address=None) as cluster,
        ClusterRunner(
            cluster.scheduler_address, sandbox=SANDBOX, patience=Patience(workers=1)
        ) as runner,
        pytest.raises(ClusterError, match="no workers for 1 s"),
    ):
        collected(runner, some(1))


def test_a_scheduler_that_goes_away_ends_the_run_with_a_sentence() -> None:
    patience = Patience(scheduler=5)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        runner = ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX, patience=patience)
        with pytest.raises(ClusterError, match="run the same command to go on"):
            close_after_the_first(cluster, runner)


def test_another_edition_on_the_workers_is_refused(
    cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "criteria", lambda: "0.0+other")
    with (
        ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner,
        pytest.raises(ClusterError, match="another edition"),
    ):
        collected(runner, some(1))


def test_nothing_of_the_grader_stays_on_the_workers(cluster: LocalCluster) -> None:
    with ClusterRunner(cluster.scheduler_address, sandbox=SANDBOX) as runner:
        collected(runner, some(2))
    deadline = time.monotonic() + 20
    while (left := stations(cluster)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []


def stations(cluster: LocalCluster) -> list[str]:
    def names(dask_worker: object) -> list[str]:
        plugins = dask_worker.plugins  # type: ignore[attr-defined]
        return [name for name in plugins if name.startswith("dropout-course")]

    with Client(cluster.scheduler_address, set_as_default=False) as client:
        return [name for found in client.run(names).values() for name in found]
