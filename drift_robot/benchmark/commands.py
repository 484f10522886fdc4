"""`drift-robot benchmark`: its commands. Each imports what it needs when it is called: help is there at once."""

import typer

from drift_robot.benchmark.methods_command import methods
from drift_robot.benchmark.speed_commands import background, batch_time, inference, storage, update_latency

app = typer.Typer(no_args_is_help=True, help="Measure what the project claims, here and now.")
for command in (methods, batch_time, update_latency, inference, storage, background):
    app.command()(command)
