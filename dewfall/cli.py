"""The `dewfall` command: start, stop and look at the server, and run programs against it.

Every command says what to type next. Nothing heavy is imported before the command that needs it.
"""

from __future__ import annotations

import argparse
import ipaddress
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from dewfall import __version__
from dewfall.environment import exports
from dewfall.launch import CannotListen, announced, health, is_alive, known, quiet_interrupt, serve
from dewfall.settings import Settings, read_settings

START_SECONDS = 30.0
BOOT_SECONDS = 600.0  # where scripts of the user's run before the server is ready


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; the process ends with its exit code."""
    root = parser()
    options = root.parse_args(arguments)
    if options.command is None:
        root.print_help(sys.stderr)
        sys.exit(2)
    try:
        settings = with_options(read_settings(), options)
    except ValueError as problem:
        sys.exit(f"dewfall: {problem}")
    with quiet_interrupt():
        code: int = options.run(settings, options)
        sys.exit(code)


def parser() -> argparse.ArgumentParser:
    """Every command and option."""
    root = argparse.ArgumentParser(prog="dewfall", description="The AWS machine-learning cloud, condensed onto your own machine.")
    root.add_argument("--version", action="version", version=f"dewfall {__version__}")
    commands = root.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        made.add_argument("--host", help="address of the server (default 127.0.0.1)")
        made.add_argument("--port", type=port, help="port of the server (default 4566)")
        return made

    starting = command("up", up, "Start the server.")
    starting.add_argument("-d", "--detach", action="store_true", help="in the background")
    starting.add_argument("--data", type=Path, help="folder that holds everything (default: in the user's data directory)")
    starting.add_argument("--ephemeral", action="store_true", help="a temporary folder, removed when the server ends")
    command("down", down, "Stop the server. Running jobs go on and are taken up by the next `dewfall up`.")
    command("status", status, "Tell whether a server runs, where, and with how many processes.")
    command("env", env, 'Print the variables for a shell: eval "$(dewfall env)".')
    running = command("exec", execute, "Run a program so that even clients that hard-code AWS hosts reach Dewfall: dewfall exec -- python script.py")
    running.add_argument("program", nargs=argparse.REMAINDER, metavar="-- CMD")
    command("demo", demo, "Train, deploy and invoke two models on a temporary server, and print what happened.")
    reading = command("logs", logs, "Print a job's or an endpoint's log.")
    reading.add_argument("name", help="name of a training job or endpoint")
    reading.add_argument("-f", "--follow", action="store_true", help="go on until the job has ended")
    boards = command("tensorboard", tensorboard, "Open TensorBoard on what training jobs write for it, also while they run.")
    boards.add_argument("names", nargs="*", metavar="JOB", help="training jobs or local folders (default: every job with a TensorBoardOutputConfig)")
    boards.add_argument("--board-port", type=port, default=6006, help="port of TensorBoard (default 6006)")
    checking = command("clarify-check", clarify_check, "Hold a Clarify job's analysis.json against a baseline's; exit code 1 where it is violated.")
    checking.add_argument("analysis", metavar="ANALYSIS", help="the job's analysis.json or its folder: a path or s3://…")
    checking.add_argument("constraints", metavar="CONSTRAINTS", help="the baseline's, in the same way")
    checking.add_argument("--output", help="where constraint_violations.json goes (default: beside ANALYSIS)")
    command("reset", reset, "Forget every resource of the running server.")
    interrupting = command("interrupt", interrupt, "Take away the capacity of a running managed spot training job, which then starts again.")
    interrupting.add_argument("job", help="name of the training job")
    listing = command("operations", operations, "List what is built: executes, records, or not built.")
    listing.add_argument("name", nargs="?", default="", help="a service (sagemaker) or an operation (CreateTrainingJob)")
    command("doctor", doctor, "Tell what this machine can run.")
    return root


def port(text: str) -> int:
    """A port as typed. argparse makes a message of what is raised."""
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port (0 to 65535)")
    return int(text)


def with_options(settings: Settings, options: argparse.Namespace) -> Settings:
    """Options override the environment."""
    given = {name: getattr(options, name, None) for name in ("host", "port", "data")}
    if given["data"] is not None:
        given["data"] = given["data"].expanduser().absolute()
    return replace(settings, **{name: value for name, value in given.items() if value is not None})


# ---------------------------------------------------------------- up, down, status


def up(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.engine.compute.ray import NoCluster
    from dewfall.house import DataFolderTaken

    if not is_loopback(settings.host) and settings.auth != "enforce":
        return complain(f"binding to {settings.host or 'every address'} would let anyone in; set DEWFALL_AUTH=enforce, or bind to 127.0.0.1.", code=2)
    if options.ephemeral and options.data is None:
        settings = replace(settings, data=Path(tempfile.mkdtemp(prefix="dewfall-")))
    if options.ephemeral and not is_ours(settings.data):
        return complain(f"{settings.data} holds other files, which --ephemeral would remove at the end. Give it an empty or a new folder.", code=2)
    if settings.hooks and not Path(settings.hooks).expanduser().is_dir():
        return complain(f"DEWFALL_HOOKS must be a folder, and there is none at {settings.hooks}. Make it, or unset the variable.")
    if settings.prices:
        from dewfall.rules.recommendation import prices

        try:
            prices(settings.prices)
        except ValueError as problem:
            return complain(f"DEWFALL_PRICES: {problem}.")
    if settings.images and not Path(settings.images).is_file():
        return complain(f"DEWFALL_IMAGES must be a file, and there is none at {settings.images}. Make it, or unset the variable.")
    if options.detach:
        return detach(settings, ephemeral=options.ephemeral, chosen=options.data is not None)
    try:
        serve(settings, ephemeral=options.ephemeral, greet=greet)
    except DataFolderTaken as problem:
        told = announced(settings.data / "run" / "server.json")
        return complain(f"{problem}" + (f" It runs at {told['url']}, process {told['pid']}." if told else ""))
    except CannotListen as problem:
        return complain(taken(settings, problem))
    except NoCluster as problem:
        return complain(str(problem))
    except OSError as problem:
        return complain(f"{problem.filename or settings.data}: {problem.strerror}. Choose another folder with --data.")
    return 0


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_ours(folder: Path) -> bool:
    """Whether a folder may be removed: it is new, empty, or a server's."""
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    return names <= {"server.log"} or "dewfall.db" in names


def taken(settings: Settings, problem: CannotListen) -> str:
    """What to do about an address that cannot be had."""
    found = health(settings.endpoint) if problem.port == settings.port else None
    if found is not None:
        return f"Dewfall runs already at {found['url']} (data in {found['data']}). Use it, end it with `dewfall down`, or choose another --port."
    option = f"DEWFALL_TLS_PORT={problem.port + 1}" if problem.port == settings.tls_port else f"dewfall up --port {min(problem.port + 1, 65535)}"
    return f"cannot listen on {problem.host}:{problem.port} ({problem}). Choose another port: {option}"


def greet(settings: Settings) -> None:
    """The first words of a server that is ready."""
    also = f" and {settings.tls_endpoint}" if settings.tls_port else ""
    port = "" if settings.port == 4566 else f" --port {settings.port}"
    print(f"Dewfall {__version__} is ready at {settings.endpoint}{also} (data in {settings.data})")
    print(f'In another shell:  eval "$(dewfall env{port})"  and then use boto3, the AWS CLI or the SageMaker SDK.')
    print(f"Programs that hard-code AWS hosts:  dewfall exec{port} -- python script.py", flush=True)


def detach(settings: Settings, *, ephemeral: bool, chosen: bool) -> int:
    """Start the server as a process of its own and wait until it is ready, or has failed. `chosen`: the data folder was named."""
    found = health(settings.endpoint) if settings.port else None
    if found is not None and chosen and Path(found["data"]) != settings.data:
        return complain(taken(settings, CannotListen(settings.host, settings.port, OSError("another server has it"))))
    if found is not None:
        print(f"Dewfall runs already at {settings.endpoint} (data in {found['data']}).")
        return 0
    settings.data.mkdir(parents=True, exist_ok=True)
    announcement = settings.data / "run" / "server.json"
    log = settings.data / "server.log"
    command = [sys.executable, "-m", "dewfall", "up", "--host", settings.host, "--port", str(settings.port), "--data", str(settings.data)]
    with log.open("a+b") as out:
        start = out.tell()
        process = subprocess.Popen(command + ["--ephemeral"] * ephemeral, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + (BOOT_SECONDS if settings.hooks else START_SECONDS)
        while time.monotonic() < deadline and process.poll() is None:
            if (told := announced(announcement)).get("pid") == process.pid:
                greet(replace(settings, port=urlsplit(told["url"]).port or settings.port))
                print(f"Its log is {log}.")
                return 0
            time.sleep(0.02)
        out.seek(start)
        said = out.read().decode(errors="replace").strip()[-2000:]
    if process.poll() is None:
        process.terminate()
    return complain(f"the server did not start. It said:\n{said or '(nothing)'}")


def down(settings: Settings, options: argparse.Namespace) -> int:
    found = health(settings.endpoint)
    if found is None:
        return nobody(settings)
    process: int = found["pid"]
    try:
        os.kill(process, signal.SIGTERM)
    except PermissionError:
        return complain(f"process {process} belongs to another user, who can end it.")
    except ProcessLookupError:
        return complain(f"the server at {settings.endpoint} runs on another machine or in a container; end it there.")
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if not is_alive(process):
            port = "" if settings.port == 4566 else f" --port {settings.port}"
            print(f"Dewfall has stopped. `dewfall up{port}` starts it again with everything it had (unless it was ephemeral).")
            return 0
        time.sleep(0.02)
    return complain(f"process {process} does not end; kill -9 {process}: nothing that was answered is lost.")


def status(settings: Settings, options: argparse.Namespace) -> int:
    found = health(settings.endpoint)
    if found is None:
        return nobody(settings)
    also = f" and {found['tls_url']}" if found["tls_url"] else ""
    print(f"Dewfall {found['version']} runs at {found['url']}{also}: process {found['pid']}, {found['processes']} jobs and replicas.")
    print(f"Data in {found['data']}, account {found['account']}, region {found['region']}, authentication {found['auth']}.")
    return 0


def complain(text: str, *, code: int = 1) -> int:
    """Say what is wrong and what to do about it."""
    print(f"dewfall: {text}", file=sys.stderr)
    return code


def nobody(settings: Settings) -> int:
    """No server answers: say how to get one."""
    port = "" if settings.port == 4566 else f" --port {settings.port}"
    return complain(f"no server answers at {settings.endpoint}. Start one with `dewfall up{port}`.")


# ---------------------------------------------------------------- for programs


def env(settings: Settings, options: argparse.Namespace) -> int:
    if health(settings.endpoint) is None:
        nobody(settings)
    for name, value in exports(known(settings)).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def execute(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.proxy import run_behind_proxy

    program = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        return complain("what shall run? dewfall exec -- python script.py", code=2)
    if health(settings.endpoint) is None:
        return nobody(settings)
    return run_behind_proxy(known(settings), program)


def demo(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.demo import run_demo

    return run_demo()


def logs(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.joblogs import print_logs

    return print_logs(known(settings), options.name, follow=options.follow) if health(settings.endpoint) else nobody(settings)


def tensorboard(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.boards import show_boards

    return show_boards(known(settings), options.names, options.board_port) if health(settings.endpoint) else nobody(settings)


def clarify_check(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.clarify_check import check, is_remote

    places = (options.analysis, options.constraints, options.output)
    if is_remote(*places):
        if health(settings.endpoint) is None:
            return nobody(settings)
        settings = known(settings)
    return check(settings, *places)


def reset(settings: Settings, options: argparse.Namespace) -> int:
    if health(settings.endpoint) is None:
        return nobody(settings)
    refused = post(settings.endpoint + "/_dewfall/reset")
    if refused:
        return complain(refused)
    print("Everything is forgotten; the server is empty.")
    return 0


def interrupt(settings: Settings, options: argparse.Namespace) -> int:
    if health(settings.endpoint) is None:
        return nobody(settings)
    there = known(settings)
    query = urllib.parse.urlencode({"region": there.region, "account": there.account})
    url = f"{settings.endpoint}/_dewfall/interrupt/{urllib.parse.quote(options.job)}?{query}"
    refused = post(url)
    if refused == "Requested resource not found.":
        refused = f"no training job is called {options.job}. `aws sagemaker list-training-jobs` names the jobs."
    if refused:
        return complain(refused)
    print(f"{options.job} is being interrupted.")
    return 0


def post(url: str) -> str:
    """Ask the server for something of its own; what it says against it, "" where it did it."""
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(url, method="POST"), timeout=60).close()
    except urllib.error.HTTPError as refusal:
        said = refusal.read()
        try:
            return str(json.loads(said)["message"])
        except (ValueError, KeyError, TypeError):
            return f"the server answered {refusal.code}: {said[:200].decode(errors='replace')}"
    return ""


# ---------------------------------------------------------------- about Dewfall


def operations(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.coverage import print_operations

    return print_operations(options.name)


def doctor(settings: Settings, options: argparse.Namespace) -> int:
    from dewfall.doctor import print_checks

    return print_checks(settings)
