"""What the commands beside this package take alike, and how they end."""

import argparse
import os
import signal
import sys
from pathlib import Path

from .errors import Interrupted

DONE, FAILED, USAGE, SKIPPED, INTERRUPTED = 0, 1, 2, 3, 130
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Context:
    """What all that is measured shares: the binary, and where peers are kept once built."""

    def __init__(self, landbridge, cache):
        self.landbridge = landbridge and landbridge.resolve()
        self.cache = cache and cache.resolve()
        if self.cache:
            self.cache.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def say(text):
        """On standard error: standard output is for what was measured."""
        print(text, file=sys.stderr, flush=True)


def parser(prog, description, epilog):
    """With the arguments that every command has."""
    it = argparse.ArgumentParser(
        prog=prog, description=description, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    it.add_argument("--landbridge", type=Path, metavar="PATH", help="this binary, instead of a build of these sources")
    it.add_argument("--json", metavar="FILE", help="writes all that was measured there; - is standard output, without the table")
    it.add_argument("--dir", type=Path, default=Path.cwd(), help="where stores are for the while: the disk to be measured; .")
    return it


def default_cache():
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "landbridge-bench"


def names(known):
    """A list of some of those, each once."""

    def parse(text):
        found = list(dict.fromkeys(text.split(",")))
        if unknown := [name for name in found if name not in known]:
            raise argparse.ArgumentTypeError(f"{unknown[0]!r} is none of {', '.join(known)}")
        return found

    return parse


def count(least, most):
    """A number within those bounds."""

    def parse(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return int(text)

    return parse


def until_interrupted(command, args):
    """The exit status of `command(args)`; what it has started is stopped by it also where a signal asks for its end."""
    for ending in ENDINGS:
        signal.signal(ending, interrupt)
    try:
        return command(args)
    except Interrupted:
        Context.say("interrupted; nothing is left running")
        return INTERRUPTED


def interrupt(*_):
    # What ends the servers is not to be interrupted again.
    for ending in ENDINGS:
        signal.signal(ending, signal.SIG_IGN)
    raise Interrupted
