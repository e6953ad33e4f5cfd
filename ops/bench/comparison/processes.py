"""Processes that this command starts. Each is in a group of its own, so that Ctrl-C on the terminal reaches this command
alone, which then stops them in order; and each is killed by the kernel should this command be killed."""

import ctypes
import os
import signal
import socket
import subprocess
import time

from .errors import Failed

STOP_SECONDS = 15
TAIL_LINES = 15
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent():
    """Runs in the child before it is the program."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Server:
    """A process that serves until it is stopped."""

    def __init__(self, argv, log, cwd=None, env=None):
        self.argv, self.log = [str(word) for word in argv], log
        with open(log, "ab") as output:
            self.process = subprocess.Popen(
                self.argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=cwd, env=env,
                start_new_session=True, preexec_fn=die_with_parent,
            )

    def wait_for(self, what, ready, seconds):
        """Waits until `ready()` is true; tells what it waited for, with the end of the log, where that doesn't come."""
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise Failed(f"{self.argv[0]} ended with status {self.process.returncode} before {what}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.argv[0]}: no {what} within {seconds} s:\n{tail(self.log)}")
            time.sleep(0.01)

    def rss_bytes(self):
        """What it has in memory now."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as status:
            for line in status:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) * 1024
        raise Failed(f"{self.argv[0]} has ended:\n{tail(self.log)}")

    def stop(self):
        """Ends it, whatever it does."""
        end(self.process)


def run(argv, seconds, text=None, cwd=None, env=None, accepted=(0,)):
    """Runs a command to its end and returns what it printed; it is ended when it takes longer than it may."""
    argv = [str(word) for word in argv]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, cwd=cwd, env=env, text=True, start_new_session=True, preexec_fn=die_with_parent,
    )
    try:
        out, err = process.communicate(text, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(argv)}: not done within {seconds:.0f} s") from None
    finally:
        # Asked first, it ends what it has started in groups of their own.
        end(process)
    if process.returncode not in accepted:
        raise Failed(f"{' '.join(argv)}: status {process.returncode}\n{last_lines(out + err)}")
    return out


def end(process):
    """SIGTERM; SIGKILL where that does not do."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            kill_group(process)
    process.wait()


def kill_group(process):
    """The process and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def free_ports(count):
    """Ports of 127.0.0.1 that nobody has, for TCP and for UDP."""
    found, held = [], []
    try:
        while len(found) < count:
            tcp = socket.create_server(("127.0.0.1", 0))
            held.append(tcp)
            udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            held.append(udp)
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            found.append(tcp.getsockname()[1])
    finally:
        for one in held:
            one.close()
    return found


def tail(path):
    """The end of a log."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return last_lines(file.read())
    except OSError as error:
        return f"({path} can't be read: {error})"


def last_lines(text):
    """A few of them."""
    return "\n".join(text.splitlines()[-TAIL_LINES:])
