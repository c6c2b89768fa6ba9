"""What several modules of unit tests want."""

from collections.abc import Iterator

import pytest
from confluent_kafka.admin import AdminClient


@pytest.fixture
def built_in_broker() -> Iterator[str]:
    """librdkafka's broker, in this process; its address."""
    admin = AdminClient({"test.mock.num.brokers": 1, "bootstrap.servers": "replaced"})
    broker = next(iter(admin.list_topics(timeout=10).brokers.values()))
    yield f"{broker.host}:{broker.port}"
    del admin
