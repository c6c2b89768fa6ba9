"""A storage error becomes one line that says what failed and why, and nothing that is secret."""

from __future__ import annotations

from sink.lake import store_trouble

_REFUSED = """Generic S3 error
          \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:1/bucket in 3.4s, after 10 retries
           \x1b[31m↳\x1b[0m tcp connect error
            \x1b[31m↳\x1b[0m Connection refused (os error 111)
"""
_WRONG_KEY = """Generic S3 error
          \x1b[31m↳\x1b[0m Error performing GET http://127.0.0.1:1/bucket in 1.1ms - Server returned non-2xx status code
            \x1b[31m↳\x1b[0m 403 Forbidden
             \x1b[31m↳\x1b[0m <?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SignatureDoesNotMatch</Code><Message>Wrong key.</Message><AWSAccessKeyId>AK</AWSAccessKeyId></Error>
"""


def told(cause: str) -> str:
    return str(store_trouble("s3://bucket/lake", OSError(cause)))


def test_the_innermost_cause_is_told() -> None:
    assert "the store does not serve s3://bucket/lake: Generic S3 error: Connection refused (os error 111)" == told(
        _REFUSED
    )


def test_an_answer_of_s3_is_told_by_its_code_and_message_alone() -> None:
    assert "the store does not serve s3://bucket/lake: Generic S3 error: SignatureDoesNotMatch: Wrong key." == told(
        _WRONG_KEY
    )


def test_one_line_stays_as_it_is_and_none_becomes_the_error_s_name() -> None:
    assert "the store does not serve s3://bucket/lake: No space left on device" == told("No space left on device")
    assert "the store does not serve s3://bucket/lake: OSError" == told(" \n")


def test_the_error_behind_it_keeps_no_more_of_an_answer_of_s3() -> None:
    cause = OSError(_WRONG_KEY)
    assert "AK<" in _WRONG_KEY
    store_trouble("s3://bucket/lake", cause)
    assert "Generic S3 error: SignatureDoesNotMatch: Wrong key." == str(cause)
