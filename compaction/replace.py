"""Replace files of a table by others in one atomic commit, checked against what others committed meanwhile.

delta-rs's own check does not do for this: it lets a commit pass whose files a concurrent compaction took away already,
which doubles their rows (`docs/decisions/013-compaction-checks-its-own-commit.md`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Final

from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from compaction.delta_log import DataFile, live_files
from schemas.errors import CommitConflict
from sink.lake import Lake, store_trouble

_MAX_ATTEMPTS: Final = 20


def replace_files(
    lake: Lake,
    table: str,
    removed: Sequence[DataFile],
    added: Sequence[AddAction],
    *,
    changes_data: bool,
    metadata: dict[str, str],
    transactions: Sequence[Transaction] = (),
    upon: Callable[[DeltaTable], bool] = lambda handle: True,
    before_commit: Callable[[], None] = lambda: None,
) -> int | None:
    """Commit that `added` take the place of `removed`, if all of those are still live in the version committed upon.

    Appends of others in between do no harm: the commit is tried again on the version that holds them.

    Args:
        lake: where.
        table: one of the lake's.
        removed: live files, as `live_files` gave them.
        added: files that are written and not in the table yet.
        changes_data: whether rows come, go or change; false for a compaction.
        metadata: what `commitInfo` is to say about it.
        transactions: `txn` entries that the commit is to carry.
        upon: must hold for the version committed upon, too.
        before_commit: called between the check and each try to commit: a fault point of tests.

    Returns:
        The version that was made; None when one of `removed` is no longer live or `upon` does not hold, and nothing was
        committed.

    Raises:
        LakeNotFound, IncompatibleLake: as `Lake.table`.
        StoreUnavailable: the store does not answer. The commit may have landed.
        CommitConflict: others committed first at every attempt; nothing was changed.
    """
    root = lake.path(table)
    column, now_ms = lake.tables[table].partition_by, time.time_ns() // 1_000_000
    actions: list[AddAction | RemoveAction] = [
        RemoveAction(
            file.path.removeprefix(f"{root}/"),
            changes_data,
            now_ms,
            file.size,
            {column: file.partition, **dict(file.then)},
        )
        for file in removed
    ]
    gone = {file.path for file in removed}
    return commit_upon(
        lake,
        table,
        [*actions, *added],
        lambda handle: upon(handle) and gone <= {file.path for file in live_files(handle, root)},
        metadata=metadata,
        transactions=transactions,
        before_commit=before_commit,
    )


def commit_upon(
    lake: Lake,
    table: str,
    actions: Sequence[AddAction | RemoveAction],
    may_follow: Callable[[DeltaTable], bool],
    *,
    metadata: dict[str, str],
    transactions: Sequence[Transaction] = (),
    before_commit: Callable[[], None] = lambda: None,
) -> int | None:
    """Commit upon exactly a version of which `may_follow` is true, trying again while others commit first.

    Args:
        lake: where.
        table: one of the lake's.
        actions: what the commit adds and removes.
        may_follow: looks at a handle on the version that would be committed upon.
        metadata: what `commitInfo` is to say about it.
        transactions: `txn` entries that the commit is to carry.
        before_commit: called between the check and each try to commit: a fault point of tests.

    Returns:
        The version that was made; None when it may not follow, and nothing was committed.

    Raises:
        LakeNotFound, IncompatibleLake, StoreUnavailable, CommitConflict: as `replace_files`.
    """
    root = lake.path(table)
    for attempt in range(_MAX_ATTEMPTS):
        handle = lake.table(table)
        if not may_follow(handle):
            return None
        before_commit()
        try:
            version = handle.version() + 1
            # Without retries: delta-rs must not rebase the commit onto a version that nobody has checked.
            properties = CommitProperties(
                custom_metadata=metadata, app_transactions=list(transactions) or None, max_commit_retries=0
            )
            handle.create_write_transaction([*actions], "append", handle.schema(), commit_properties=properties)
            return version
        except CommitFailedError:
            time.sleep(random.uniform(0, 0.02 * min(attempt, 10)))  # noqa: S311  # jitter, no secret
        except (OSError, DeltaError) as error:
            raise store_trouble(root, error) from error
    raise CommitConflict(
        f"{root} was changed by others at each of {_MAX_ATTEMPTS} tries; nothing was changed: run it again"
    )
