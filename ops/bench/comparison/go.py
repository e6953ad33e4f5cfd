"""Programs of the Go module beside this package, and the NATS server of the version that it names."""

import os
import shutil
from pathlib import Path

from .errors import Failed, Missing
from .processes import run

MODULE = Path(__file__).resolve().parents[1] / "go"
BUILD_SECONDS = 900
NATS_SERVER = "github.com/nats-io/nats-server/v2"


def build(context, name):
    """The path of the built program: one of ours by its directory, or another's by its import path."""
    if shutil.which("go") is None:
        raise Missing("Go is not installed")
    program = context.cache / name.removesuffix("/v2").rsplit("/", 1)[-1]
    context.say(f"building {program.name}")
    try:
        env = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
        run(["go", "build", "-o", program, name if "." in name else f"./{name}"], BUILD_SECONDS, cwd=MODULE, env=env)
    except Failed as failed:
        raise Missing(f"{program.name} can't be built: {failed}") from failed
    return program
