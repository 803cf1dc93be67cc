"""What every Compute must do. An implementation's test class inherits this and gives a fixture `jobs`."""

from __future__ import annotations

import os
import signal

from dewfall.engine.ports import AgentSpec, Output
from tests.engine.agents.jobs import Jobs, is_alive

SLEEP = "print('ready', flush=True); import time; time.sleep(600)"


class ComputeContract:
    """Each test is one sentence of the port."""

    def test_unknown_agents_have_no_status(self, jobs: Jobs) -> None:
        assert jobs.compute.status("training-job.0.r.none.1") is None
        assert jobs.compute.agents() == []
        jobs.compute.stop("training-job.0.r.none.1")
        jobs.compute.discard("training-job.0.r.none.1")

    def test_started_agents_have_a_status_at_once(self, jobs: Jobs) -> None:
        agent = jobs.script(SLEEP)
        assert jobs.compute.status(agent) is not None
        assert jobs.compute.agents() == [agent]

    def test_starting_again_does_nothing(self, jobs: Jobs) -> None:
        spec = AgentSpec(id="training-job.0.r.twice.1", kind="job", command=("/bin/sh", "-c", "echo once"), environment={})
        jobs.compute.start(spec)
        jobs.compute.start(spec)
        jobs.wait(spec.id)
        jobs.compute.start(spec)
        assert jobs.log(spec.id).splitlines()[-1:] == ["once"]
        assert jobs.log(spec.id).count("once") == 1

    def test_stop_is_asked_for_and_happens(self, jobs: Jobs) -> None:
        agent = jobs.script(SLEEP)
        jobs.wait(agent, "Running")
        jobs.compute.stop(agent)
        jobs.compute.stop(agent)
        status = jobs.wait(agent)
        assert (status.state, status.reason) == ("Exited", "Stopped")

    def test_stop_before_the_command_is_not_missed(self, jobs: Jobs) -> None:
        agent = jobs.script(SLEEP)
        jobs.compute.stop(agent)
        assert jobs.wait(agent).reason == "Stopped"

    def test_discard_ends_and_forgets(self, jobs: Jobs) -> None:
        agent = jobs.script("import os; print(os.getpid(), flush=True)" + "\n" + SLEEP)
        jobs.wait(agent, "Running")
        pid = jobs.agent_pid(agent)
        jobs.compute.discard(agent)
        assert jobs.compute.status(agent) is None
        assert jobs.compute.agents() == []
        assert not is_alive(pid)

    def test_a_discarded_id_may_be_started_anew(self, jobs: Jobs) -> None:
        agent = "training-job.0.r.again.1"
        assert jobs.wait(jobs.start("/bin/sh", "-c", "exit 1", id=agent)).exit_code == 1
        jobs.compute.discard(agent)
        assert jobs.wait(jobs.start("/bin/sh", "-c", "exit 2", id=agent)).exit_code == 2

    def test_a_killed_agent_is_lost_and_may_be_started_again(self, jobs: Jobs) -> None:
        agent = jobs.script(SLEEP, id="training-job.0.r.lost.1")
        jobs.wait(agent, "Running")
        os.kill(jobs.agent_pid(agent), signal.SIGKILL)
        assert jobs.wait(agent).state == "Lost"
        assert jobs.wait(jobs.start("true", id=agent)).exit_code == 0

    def test_what_is_written_can_be_read_meanwhile(self, jobs: Jobs) -> None:
        agent = jobs.script("open('/opt/ml/output/data/note', 'w').write('here')\n" + SLEEP)
        note = jobs.compute.written(agent, "/opt/ml/output/data") / "note"
        while not (note.is_file() and note.read_text()):
            pass
        assert note.read_text() == "here"
        jobs.compute.discard(agent)

    def test_room_counts_jobs_and_not_replicas(self, jobs: Jobs) -> None:
        assert jobs.compute.has_room()
        agents = [jobs.script(SLEEP, kind=kind) for kind in ("job", "replica", "job", "replica")]
        assert jobs.compute.has_room()
        agents += [jobs.script(SLEEP) for _ in range(2)]
        assert not jobs.compute.has_room()
        for agent in agents:
            jobs.compute.discard(agent)
        assert jobs.compute.has_room()

    def test_room_for_several_is_asked_for_at_once(self, jobs: Jobs) -> None:
        """With slots for four: five run when nothing else does."""
        assert jobs.compute.has_room(5)
        agent = jobs.script(SLEEP)
        assert jobs.compute.has_room(3)
        assert not jobs.compute.has_room(4)
        jobs.compute.discard(agent)

    def test_a_new_server_adopts_what_runs(self, jobs: Jobs) -> None:
        agent = jobs.script(SLEEP)
        jobs.wait(agent, "Running")
        pid = jobs.agent_pid(agent)
        jobs.restart()
        assert jobs.compute.agents() == [agent]
        assert jobs.agent_pid(agent) == pid
        jobs.compute.stop(agent)
        assert jobs.wait(agent).reason == "Stopped"

    def test_what_ended_meanwhile_is_found(self, jobs: Jobs) -> None:
        agent = jobs.script("print('done')", outputs=(Output("o", "/opt/ml/model", always=True),))
        jobs.restart()
        status = jobs.wait(agent)
        assert (status.exit_code, [output.name for output in status.outputs]) == (0, ["o"])

    def test_usage_is_that_of_everything_an_agent_runs(self, jobs: Jobs) -> None:
        agent = jobs.script("while True: pass")
        jobs.wait(agent, "Running")
        usage = jobs.compute.usage(agent)
        assert usage is not None
        assert usage.memory_bytes > 1_000_000
        assert usage.processors > 0
        assert jobs.compute.usage("training-job.0.r.none.1") is None
