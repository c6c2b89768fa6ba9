"""The compiled readers under the compiler's own checks of memory and of undefined behaviour."""

import struct
import subprocess
from collections.abc import Iterable
from pathlib import Path

import stream_app.plain

_SOURCES = Path(stream_app.plain.__file__).parent
_CHECKS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def plain_records(driver: str, values: Iterable[bytes], folder: Path) -> int:
    """Return how many records a driver (a C file beside this one) takes for plain, each in memory of just its size."""
    program = folder / "driver"
    source = Path(__file__).with_name(driver)
    subprocess.run(["cc", "-g", "-O1", *_CHECKS, f"-I{_SOURCES}", "-o", program, source], check=True)
    told = b"".join(struct.pack("=I", len(value)) + value for value in values)
    done = subprocess.run([program], input=told, capture_output=True, timeout=60)
    assert (0, b"") == (done.returncode, done.stderr)
    return int(done.stdout)
