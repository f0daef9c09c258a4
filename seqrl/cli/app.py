"""The commands put together, and the one place where an error becomes a sentence."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from seqrl import __version__
from seqrl.cli import datasets, environments, exchange, grids, jobs, policies, sweeps, tokens
from seqrl.cli import demo as demo_commands
from seqrl.cli.doctor import doctor
from seqrl.cli.lab import attention, response, schedule
from seqrl.cli.render import render
from seqrl.cli.report import report_command
from seqrl.cli.session import AsJson, Failure, Session, show
from seqrl.cli.train import train
from seqrl.config import explain
from seqrl.store.database import describe

_INTERRUPTED = 130

app = typer.Typer(
    name="seqrl",
    help="See offline reinforcement learning as sequence modelling.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(environments.app, name="env")
app.add_typer(datasets.app, name="dataset")
app.add_typer(policies.app, name="policy")
app.add_typer(exchange.runs, name="run")
app.add_typer(grids.app, name="grid")
app.add_typer(exchange.evaluations, name="evaluate")
app.add_typer(sweeps.app, name="sweep")
app.add_typer(tokens.app, name="tokens")
app.add_typer(jobs.app, name="jobs")
app.add_typer(demo_commands.app, name="demo")
app.command("train")(train)
app.command("render")(render)
app.command("report")(report_command)
app.command("attention")(attention)
app.command("response")(response)
sweeps.app.command("schedule")(schedule)
app.command("doctor")(doctor)


@app.callback()
def _common(
    context: typer.Context,
    home: Annotated[
        Path | None,
        typer.Option(envvar="SEQRL_HOME", help="Where everything is kept.", show_default="~/.seqrl"),
    ] = None,
) -> None:
    context.obj = Session(home)


@app.command("version")
def version(as_json: AsJson = False) -> None:
    """Say which version this is."""
    show({"version": __version__}, as_json, __version__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        code = app(args=arguments, standalone_mode=False) or 0
        return _interrupted() if code == _INTERRUPTED else int(code)
    except typer.Exit as exit_:
        return _interrupted() if exit_.exit_code == _INTERRUPTED else exit_.exit_code
    except typer.TyperException as error:
        return _say(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        return _interrupted()
    except Failure as failure:
        return _say(str(failure), failure.exit_code)
    except ValidationError as error:
        return _say(explain(error), 2)
    except BrokenPipeError:
        sys.stderr.close()  # the reader of a pipe has seen enough; Python would complain on exit
        return 0
    except OSError as error:
        if error.filename is None:
            return _say(error.strerror or str(error), 1)
        return _say(f"{error.filename}: {(error.strerror or str(error)).lower()}; choose another place", 1)
    except sqlite3.Error as error:
        return _say(describe(error), 1)
    except ValueError as error:
        return _say(str(error), 1)


def _interrupted() -> int:
    return _say("stopped waiting; jobs that were started go on, see: python -m seqrl jobs list", _INTERRUPTED)


def _say(sentence: str, exit_code: int) -> int:
    print(f"error: {' '.join(sentence.split())}", file=sys.stderr)
    return exit_code
