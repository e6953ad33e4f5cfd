"""The machine, as far as it makes figures what they are."""

import os
import platform
import shutil
import statistics
import time

BLOCK = b"\0" * 4096
FLUSHES = 200


def describe():
    """What stays the same for the while."""
    memory = memory_bytes("MemTotal")
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
    return {"cores": len(os.sched_getaffinity(0)), "processor": model, "memory_bytes": memory, "kernel": platform.release()}


def room(dir):
    """Bytes that are left: of memory, and of the disk."""
    return memory_bytes("MemAvailable"), shutil.disk_usage(dir).free


def memory_bytes(name):
    """As the kernel counts it under that name."""
    with open("/proc/meminfo", encoding="utf-8") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def condition(dir):
    """What may drift: the load average, and how long the disk takes to have 4 KiB for certain."""
    spans, path = [], dir / "flushes"
    with open(path, "wb", buffering=0) as file:
        for _ in range(FLUSHES):
            begun = time.perf_counter()
            file.write(BLOCK)
            os.fdatasync(file.fileno())
            spans.append(time.perf_counter() - begun)
    path.unlink()
    return {"load_average": os.getloadavg()[0], "fdatasync_p50_us": statistics.median(spans) * 1e6}
