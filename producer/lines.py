"""Records as lines: a value a line to a file or to standard output, for a look and for tests without a broker."""

from __future__ import annotations

from typing import BinaryIO

from producer.simulate import Block


class LineSink:
    """A stream that takes each record's value and a newline; keys are left out, an empty value is an empty line."""

    def __init__(self, stream: BinaryIO) -> None:
        """Write to an open binary stream, which stays open."""
        self._stream = stream

    def write(self, block: Block) -> None:
        """Write a block's values; raises OSError when the stream does not take them."""
        self._stream.write(b"\n".join(block.values) + b"\n")

    def flush(self) -> None:
        """Hand everything over to the operating system; raises as `write` does."""
        self._stream.flush()
