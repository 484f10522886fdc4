"""`drift-robot benchmark`: its commands. Each imports what it needs when it is called: help is there at once."""

import typer

from drift_robot.benchmark.methods_command import methods

app = typer.Typer(no_args_is_help=True, help="Measure what the project claims, here and now.")
app.command()(methods)


@app.callback()
def benchmark() -> None:
    """Keep the name of the only command."""
