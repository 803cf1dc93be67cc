"""One small process per instance of a job or replica: prepares inputs, runs the command, watches it, collects outputs, and says so in status.json.

    python -m dewfall.engine.agent <folder>      the folder holds spec.json

It is nobody's child for long and talks to nobody but files, so a job does not notice that the server has died or come back.
Standard library only: it starts in milliseconds.

    <folder>/spec.json  status.json  log  stop      what the server writes and reads
    <folder>/root/opt/ml                            what the command wrote
    <folder>/inputs                                 links to the stored inputs, read-only
    <folder>/outputs                                what was collected
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

from dewfall.engine import channels, pipes, replica, scratch
from dewfall.engine.agentstatus import LOCK, LOG, RESERVE, RESERVE_SIZE, SPEC, Word, read_document, read_spec
from dewfall.engine.archives import BadArchive, unpack
from dewfall.engine.channels import BadInput
from dewfall.engine.collecting import collect
from dewfall.engine.command import NOT_FOUND, Command, environment_of, rewrite, spawn
from dewfall.engine.disk import free, hold, is_full
from dewfall.engine.joblog import JobLog
from dewfall.engine.namespaces import CONTAINER_ROOT, MS_BIND, MS_REC, View, enter, enter_hostname, mount, own_copy
from dewfall.engine.ports import Channel, Collected
from dewfall.engine.processes import become_subreaper, die_with_parent, kill_tree
from dewfall.engine.supervision import End, Signals, Supervision

STANDARD_FOLDERS = ("code", "input/config", "input/data", "model", "output/data")
SHARED_FOLDERS = ("run", "cache")  # of the data folder, which every agent sees: sockets, virtual environments
FAILURE_LENGTH = 1024
WAIT_FOR_ROOM, LONGEST_WAIT_FOR_ROOM = 1.0, 600.0  # seconds that outputs wait on a full disk: between looks, and in all
MODES_OF_FILES = ("File", "FastFile")
UNREADABLE = "unreadable"  # what a feeder leaves when it cannot go on


class Stopped(Exception):
    """The end was asked for before the command began."""


class Agent:
    """The life of one instance, as its methods in order."""

    def __init__(self, folder: Path, *, warm: bool = False) -> None:
        self.folder = folder
        self.warm = warm
        self.spec, self.around = read_spec(folder)
        self.signals = Signals(str(folder))
        hold(folder / RESERVE, RESERVE_SIZE)
        self.word = Word(folder, self.spec.id, self.around.poke)
        self.log = JobLog(str(folder / LOG), self.spec.log_limit)
        self.root = str(folder / "root")
        self.farm = str(folder / "inputs")
        self.mounted = False

    def run(self) -> None:
        """From the first word to the last."""
        try:
            self.word.say("Preparing")
            end = self.live()
        except Stopped:
            self.word.say("Exited", reason="Stopped", message="Stopped before the command began.")
            return
        except (BadInput, BadArchive) as error:
            self.log.note(str(error))
            self.word.say("Exited", reason="InputError", message=str(error))
            return
        except Exception as error:
            traceback.print_exc()
            self.log.note(f"Dewfall's agent failed: {type(error).__name__}: {error}")
            self.word.say("Exited", reason="InternalError", message=f"{type(error).__name__}: {error}")
            return
        if not self.signals.is_orphaned():
            self.finish(end)

    def live(self) -> End:
        """Prepare, run, and kill what is left."""
        self.prepare()
        self.check()
        try:
            end = self.command()
        finally:
            kill_tree(os.getpid())
        with contextlib.suppress(FileNotFoundError):
            raise BadInput((self.folder / UNREADABLE).read_text())
        return end

    def check(self) -> None:
        if self.signals.stop_requested():
            raise Stopped

    def path(self, inside: str) -> str:
        """Where a container's path lies for this process."""
        if self.mounted or not (inside + "/").startswith(CONTAINER_ROOT + "/"):
            return inside
        return self.root + inside

    # ------------------------------------------------------------ before

    def prepare(self) -> None:
        """Folders, archives and inputs; then the view of the file system; then the files that the platform writes."""
        for channel in self.spec.channels:
            if not channel.target.startswith(CONTAINER_ROOT + "/"):
                raise BadInput(f"Channel {channel.name}: {channel.target} is not beneath {CONTAINER_ROOT}")
        upper = self.root + CONTAINER_ROOT
        for name in STANDARD_FOLDERS:
            os.makedirs(f"{upper}/{name}", exist_ok=True)
        if self.spec.shelf:
            os.makedirs(self.folder / "models", exist_ok=True)
            with contextlib.suppress(FileExistsError):
                os.symlink(self.folder / "models", f"{upper}/models")
        for output in self.spec.outputs:
            os.makedirs(self.path(output.source), exist_ok=True)
        for archive in self.spec.archives:
            self.check()
            try:
                unpack(archive.source, self.path(archive.target))
            except BadArchive as error:
                name = os.path.basename(archive.source).rpartition("@")[0] or os.path.basename(archive.source)
                raise BadArchive(f"The archive {name} cannot be unpacked: {error}") from error
        plain = tuple(c for c in self.spec.channels if c.mode in MODES_OF_FILES and c.compression != "Gzip")
        channels.copy(tuple(c for c in self.spec.channels if c.mode in MODES_OF_FILES and c not in plain), self.root)
        self.lay_out(plain)
        for channel in self.spec.channels:
            if channel.mode == "Folder":
                channels.share(channel, self.path(channel.target), mounted=self.mounted)
        self.announce()
        for channel in self.spec.channels:
            if channel.mode == "Pipe":
                self.feed(dataclasses.replace(channel, target=self.path(channel.target)))
        for path, text in self.spec.files.items():
            target = Path(self.path(path))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        with contextlib.suppress(OSError):
            os.makedirs(self.path(self.spec.working_directory), exist_ok=True)

    def lay_out(self, plain: tuple[Channel, ...]) -> None:
        """Inputs as the overlay's lower layer if this machine can, else as copies."""
        if self.around.mode == "none" or not self.isolate(plain):
            channels.copy(plain, self.root)

    def isolate(self, plain: tuple[Channel, ...]) -> bool:
        """Enter the namespaces; False when the inputs must be copied."""
        lower = ""
        if plain:
            lower = self.farm + CONTAINER_ROOT
            os.makedirs(lower, exist_ok=True)
            channels.plant(plain, self.farm)
        piped = tuple(c for c in self.spec.channels if c.mode == "Pipe")
        kept = tuple(dataclasses.replace(pipes.numbered(c), target=f"/pipes/{c.name}") for c in piped)
        channels.plant(kept, self.farm)
        folders = tuple(c.folder for c in self.spec.channels if c.folder.startswith(f"{self.around.data}/"))
        private = scratch.is_possible(str(self.folder), self.around.poke, *replica.places(self.spec, str(self.folder), self.around.data))
        told = (*self.spec.command, self.spec.working_directory, *(c.folder for c in self.spec.channels))
        hosts = self.folder / "hosts"
        hosts.write_text(hosts_text(self.spec.hosts, self.spec.addresses))
        view = View(
            upper=self.root + CONTAINER_ROOT,
            lower=lower,
            sealed=self.farm if plain or piped else "",
            work=str(self.folder / "work"),
            hosts=str(hosts),
            hidden=self.around.data,
            shown=(str(self.folder), *(f"{self.around.data}/{name}" for name in SHARED_FOLDERS), *folders, *needed(self.around.data)),
            scratch=scratch.make(str(self.folder)) if private else "",
            kept=scratch.needed(told, self.spec.environment, self.around.environment) if private else (),
        )
        try:
            layered = enter(self.around.mode, view)
        except OSError as error:
            hosts.unlink(missing_ok=True)
            self.around = dataclasses.replace(self.around, mode="none", reason=f"no private {CONTAINER_ROOT}: {error}")
            return False
        self.mounted = True
        own_copy("/etc/environment", self.folder / "environment")  # SDK v3's MPI driver appends the job's variables to it
        if self.spec.addresses:
            enter_hostname(self.spec.host)
        planted = dict(zip((c.name for c in piped), channels.planted(kept, self.farm), strict=True))
        self.spec = dataclasses.replace(
            self.spec,
            channels=tuple(dataclasses.replace(c, files=planted[c.name].files) if c.name in planted else c for c in self.spec.channels),
        )
        if plain and not layered:
            channels.copy(channels.planted(plain, self.farm), "")
        for channel in plain if layered else ():
            if channel.mode == "FastFile":  # sealed, as the mount is that AWS gives it
                mount(self.farm + channel.target, channel.target, flags=MS_BIND | MS_REC)
        return True

    def announce(self) -> None:
        """The log's first lines: what is different here, and what the spec wants said."""
        if not self.mounted:
            self.log.note(f"Dewfall: {self.around.reason}. {CONTAINER_ROOT} is {self.root}{CONTAINER_ROOT} here.")
            self.spec = rewrite(self.spec, self.root)
            if self.spec.addresses:
                places = ", ".join(f"{host} is {address}" for host, address in zip(self.spec.hosts, self.spec.addresses, strict=True))
                self.log.note(f"Dewfall: the names of this job's hosts do not resolve here: {places}.")
        for note in self.spec.notes:
            self.log.note(note)

    def feed(self, channel: Channel) -> None:
        pipes.first_pipe(channel.target)
        agent = os.getpid()
        if os.fork() == 0:
            try:
                die_with_parent()
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                pipes.feed(channel, channel.target)
            except pipes.Unreadable as error:
                (self.folder / UNREADABLE).write_text(str(error))
                os.kill(agent, signal.SIGTERM)
            finally:
                os._exit(1)

    # ------------------------------------------------------------ the command

    def command(self) -> End:
        """Start it and watch it."""
        spec = self.spec
        environment = environment_of(spec, self.around.environment, str(self.folder))
        network_of = 0
        addresses: tuple[str, ...] = ()
        if spec.kind == "replica":
            network_of, addresses, more = replica.prepare(spec, str(self.folder), self.around, self.log)
            environment |= more
        output, write = os.pipe2(os.O_CLOEXEC)
        command = Command(spec.command, environment, self.path(spec.working_directory), spec.cpus, network_of, self.warm, spec.kind == "replica")
        self.word.begin("Training")
        child, trouble = spawn(command, write)
        os.close(write)
        on_wake = replica.wait(self.word, addresses, self.signals.writer) if addresses else self.running()
        end = Supervision(spec, child, output, self.log, self.signals).run(on_wake)
        replica.forget(addresses)
        reason = os.read(trouble, 4096).decode(errors="replace")
        if reason and not end.reason:
            message = f"The command {spec.command[0]} cannot be started: {reason}" if end.exit_code >= NOT_FOUND - 1 else reason
            self.log.note(message)
            return dataclasses.replace(end, message=message)
        return end

    def running(self) -> replica.OnWake:
        self.word.say("Running")
        return lambda: None

    # ------------------------------------------------------------ after

    def finish(self, end: End) -> None:
        """Outputs, failure text and the last word."""
        failure = self.failure() if end.exit_code else ""
        self.word.say("Collecting")
        try:
            outputs = self.collect(end)
        except OSError as error:
            message = f"The outputs could not be collected: {error}." + (" Free disk space and run the job again." if is_full(error) else "")
            self.word.say("Exited", exit_code=end.exit_code, reason="InternalError", message=message, address="")
            return
        self.word.say(
            "Exited",
            exit_code=end.exit_code,
            reason=end.reason,
            message=failure or end.message,
            log_tail=self.log.tail() if end.exit_code else "",
            outputs=[dataclasses.asdict(output) for output in outputs],
            address="",
        )

    def collect(self, end: End) -> list[Collected]:
        """The outputs. On a full disk they wait for room, unless they are those of a failure, which nobody wants."""
        target = str(self.folder / "outputs")
        deadline = time.monotonic() + LONGEST_WAIT_FOR_ROOM
        while True:
            try:
                return collect(self.spec.outputs, self.path, self.root, target)
            except OSError as error:
                shutil.rmtree(target, ignore_errors=True)
                if not is_full(error) or time.monotonic() > deadline or self.signals.is_orphaned():
                    raise
                if end.exit_code and not end.reason:
                    return []
                time.sleep(WAIT_FOR_ROOM)

    def failure(self) -> str:
        """What the command itself says about why, or why it could not say anything."""
        with contextlib.suppress(OSError), open(self.path(f"{CONTAINER_ROOT}/output/failure"), "rb") as file:
            said = file.read(4 * FAILURE_LENGTH).decode(errors="replace")[:FAILURE_LENGTH]
            if said:
                return said
        return "No space left on device" if free(self.folder) < RESERVE_SIZE else ""


def hosts_text(hosts: tuple[str, ...], addresses: tuple[str, ...] = ()) -> str:
    """This machine's hosts file with the job's hosts before it, all of them this machine."""
    present = ""
    with contextlib.suppress(OSError):
        present = Path("/etc/hosts").read_text()
    known = dict(zip(hosts, addresses, strict=False))
    return "".join(f"{known.get(host, '127.0.0.1')} {host}\n" for host in hosts) + present


def needed(data: str) -> tuple[str, ...]:
    """Folders of the interpreter and of this package, where somebody keeps them inside the data folder."""
    return tuple(path for path in dict.fromkeys(scratch.OWN) if path.startswith(f"{data}/"))


def run(folder: Path, *, warm: bool = False) -> None:
    """The life of the agent of a folder, unless there is one already."""
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    if (read_document(folder) or {}).get("state", "Starting") != "Starting":
        return  # it has been started twice, because a former server could not say that it had, and has run already
    become_subreaper("dewfall-agent")
    Agent(folder, warm=warm).run()
    for name in ("work", scratch.FOLDER):
        shutil.rmtree(folder / name, ignore_errors=True)


def main(arguments: list[str]) -> int:
    """Entry point of a plain, new process."""
    folder = Path(arguments[0])
    if not (folder / SPEC).is_file():
        print(f"no {SPEC} in {folder}", file=sys.stderr)
        return 2
    with contextlib.suppress(PermissionError):
        os.setsid()
    run(folder)
    return 0


if __name__ == "__main__":
    os._exit(main(sys.argv[1:]))
