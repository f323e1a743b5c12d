"""python -m fedsim.serve CONFIG: run an experiment with clients on other machines."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from fedsim.commands import Interrupted, launch
from fedsim.domain import Mistake


def main(
    config: Annotated[Path, typer.Argument(help="the experiment, a TOML file")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="changes to it, such as strategy.name=krum seed=3"),
    ] = None,
    host: Annotated[
        str, typer.Option(help="the address to listen on; 0.0.0.0 for all of this machine's")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="the port; 0 for any free one")] = 8000,
    tls: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="speak TLS and let in the clients whose keys are in DIR; see fedsim.pki"),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="seconds to wait for all clients; then it starts with those who are there")
    ] = 600.0,
    out: Annotated[Path, typer.Option(help="where the run's folder is made, as OUT/name/id")] = Path("runs"),
    force: Annotated[bool, typer.Option("--force", help="run again what is there already")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="go on where an interrupted run stopped")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", help="print the final table and where the report lies, nothing else")
    ] = False,
) -> None:
    """Run a federated-learning experiment whose clients join over the network, with python -m fedsim.join.

    CONFIG is the experiment, a TOML file; each KEY=VALUE changes it, such as strategy.name=krum seed=3.
    """
    # Before flwr is loaded, which reads them then.
    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ.setdefault("FLWR_LOG_LEVEL", "WARNING")
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    from fedsim.build import TABLES, answers, check
    from fedsim.config import read
    from fedsim.deployment.keys import Keys
    from fedsim.deployment.superlink import superlink
    from fedsim.display import Display, final_table
    from fedsim.engine.enrolment import Enrolment
    from fedsim.experiment import run
    from fedsim.results.folder import RunFolder
    from fedsim.results.report import write_report

    reading = read(config, overrides or [], TABLES)
    wanted = reading.config
    label, count = wanted.name, wanted.clients.count
    folder = RunFolder.of(wanted, out)
    with Display(quiet) as display:
        for note in reading.notes:
            display.note(note)
        if reading.compared:
            display.note("compare: left out, clients join for one run")
        try:
            check(wanted)
        except Mistake as mistake:
            raise Mistake(f"{config}: {mistake}") from mistake
        if folder.finished and not force:
            raise Mistake(f"{label}: this run is there already, in {folder.path}; --force runs it again")
        if tls is None and host not in ("127.0.0.1", "localhost", "::1"):
            display.note("without --tls, whoever reaches this port is a client, and nothing is encrypted")
        with superlink(host, port, None if tls is None else Keys(tls), answers=answers(wanted)) as grid:
            display.note(f"listening on {host}:{grid.port}; waiting for {count} clients")
            enrolment = Enrolment(grid, count, display.note)
            if not enrolment.wait(wait):
                missing = ", ".join(str(client) for client in range(count) if client not in enrolment.nodes)
                if not enrolment.nodes:
                    raise Mistake(f"--wait: no client joined within {wait:g} seconds")
                display.note(f"starting without client{'s' * (',' in missing)} {missing}")
            folder = run(wanted, label, out, force, display, enrolment, resume)
    final_table({label: folder}, write_report([(label, folder)]))
    summary = folder.summary()
    if summary["status"] == "interrupted":
        raise Interrupted(f"{label}: interrupted after {summary['rounds']} rounds; saved in {folder.path}")
    if summary["status"] == "stopped":
        print(f"{label}: stopped: {summary['reason']}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    launch(main)
