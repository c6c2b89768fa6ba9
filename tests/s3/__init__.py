"""An S3 API for tests, with conditional puts: versitygw where Go can build it, else moto's server.

In a test, ask for the fixture `s3` (tests/conftest.py); `flaky.FlakyS3` puts a network in trouble before it.
"""

from __future__ import annotations

from tests.s3.server import S3, copy, filesystem, filesystem_of, start
from tests.s3.versitygw import KIND_VARIABLE, prepare

__all__ = ["KIND_VARIABLE", "S3", "copy", "filesystem", "filesystem_of", "prepare", "start"]
