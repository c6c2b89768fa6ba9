"""Every way the world can be wrong, as one tree.

    PlaylakeError                 one line for a person: what, where, what to do
    ├── TransientError            the world is away for now: wait with jitter, readiness false meanwhile
    │   ├── BrokerUnavailable     no answer from the broker
    │   ├── StoreUnavailable      no answer from the disk or the object store
    │   └── RegistryUnavailable   no answer from the schema registry
    └── TerminalError             waiting will not mend it: stop, exit code 2
        ├── ConfigError           a flag, a variable or a file of the user's is wrong
        ├── LakeNotFound          there is no lake at that URI
        ├── IncompatibleLake      another version of playlake wrote the lake; nothing was touched
        ├── TopicNotFound         the broker has no such topic
        ├── TopicRecreated        the topic's id is not the one whose records the lake holds
        ├── OffsetsGone           the topic no longer has records that the lake needs next
        ├── SchemaRefused         the schema registry does not take a schema
        ├── RuleBroken            a record broke a rule whose action is to stop
        ├── OverBudget            more records of a flush are bad than a rule set allows; nothing of it was written
        ├── FenceLost             another writer claimed a Kafka partition that this one was writing
        ├── CommitConflict        a table kept being changed by others while one commit was tried again
        ├── RewriteMismatch       a repair or dedupe wrote other rows than it had planned; nothing was committed
        ├── SparkFailed           Spark did not start, or gave up while it computed gold
        └── QueryError            a user's SQL can't be answered, or asks for more than to read the lake

Bad *data* is never an exception: it is a quarantine row with its reasons. A bug is any exception outside of this tree:
it stops the worker, with nothing acknowledged.
"""

from __future__ import annotations


class PlaylakeError(Exception):
    """Anything that playlake reports to a person; `str(error)` is one line that says what, where and what to do."""


class TransientError(PlaylakeError):
    """The world is away for now. Callers wait and try the same step again; nothing was half done."""


class BrokerUnavailable(TransientError):
    """The broker did not answer in time."""


class StoreUnavailable(TransientError):
    """The disk or the object store did not answer, or answered that it can't serve now."""


class RegistryUnavailable(TransientError):
    """The schema registry did not answer, or answered that it can't serve now."""


class TerminalError(PlaylakeError):
    """Waiting will not mend it. The process stops with exit code 2 and acknowledges nothing more."""


class ConfigError(TerminalError):
    """A flag, a variable or a file of the user's is wrong."""


class LakeNotFound(TerminalError):
    """There is no lake at that URI."""


class IncompatibleLake(TerminalError):
    """The lake was written by a version of playlake that this one does not understand. Nothing was touched."""


class TopicNotFound(TerminalError):
    """The broker answered, and it has no such topic."""


class TopicRecreated(TerminalError):
    """A topic of this name exists, but it is not the one whose records the lake holds (another topic id)."""


class OffsetsGone(TerminalError):
    """The topic no longer has the records that the lake needs next: they expired or were truncated."""


class SchemaRefused(TerminalError):
    """The schema registry does not take a schema, as a rule because it does not fit the subject's earlier ones."""


class RuleBroken(TerminalError):
    """A record broke a rule whose action is to stop the worker. Nothing of its batch was written."""


class OverBudget(TerminalError):
    """More of a flush's records are bad than the rules allow. Nothing of the flush was written."""


class FenceLost(TerminalError):
    """Another writer claimed Kafka partitions that this one was writing."""


class CommitConflict(TerminalError):
    """A table kept being changed by others while one commit was tried again and again."""


class RewriteMismatch(TerminalError):
    """A rewrite of rows wrote something other than it planned, and was not committed."""


class SparkFailed(TerminalError):
    """Spark did not start, or gave up while it computed gold. Tables that it had not got to are as they were."""


class QueryError(TerminalError):
    """A user's SQL can't be answered, or it asks for something other than to read the lake."""
