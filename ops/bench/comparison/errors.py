"""What can go wrong, in words for the one who ran the command."""


class Missing(Exception):
    """A peer can't be had on this machine: it is skipped, and the exit status says so."""


class Failed(Exception):
    """A measurement did not end well: it is told, the others go on, and the exit status says so."""


class Interrupted(BaseException):
    """Somebody asked the command to end. Not an Exception, so that nothing takes it for a measurement that failed."""
