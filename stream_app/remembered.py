"""What the ledger has behind a name, in memory: so that a round need not read the ledger."""

from __future__ import annotations

from sink.ledger import Ledger, Taken


class Remembered:
    """The files taken whose names lie behind the settled one, and those of this round, wherever they lie."""

    def __init__(self, ledger: Ledger) -> None:
        """Begin with nothing in memory."""
        self._ledger = ledger
        self._files: dict[str, Taken] | None = None
        self._from = b""
        self._of_round: dict[str, Taken] = {}

    def add(self, taken: Taken) -> None:
        """Remember a file that was just begun; the ledger may not have it yet."""
        self._of_round[taken.path] = taken

    def written(self) -> None:
        """Note that the ledger has all that was begun."""
        if self._files is not None:
            self._files |= self._of_round
        self._of_round = {}

    def behind(self, settled: str) -> list[Taken]:
        """Return the files with names behind `settled`, in the order of the bytes of their names.

        Raises:
            StoreUnavailable: the ledger has to be read, and the store does not answer.
        """
        files = self._behind(settled.encode()) | self._of_round
        return sorted(files.values(), key=lambda taken: taken.path.encode())

    def named(self, paths: list[str], settled: str | None) -> dict[str, Taken]:
        """Return those of these files that were taken; the ledger is asked for names that are not behind `settled`.

        Raises:
            StoreUnavailable: as above.
        """
        known: dict[str, Taken] = {}
        older = paths
        if settled is not None:
            known |= self._behind(settled.encode())
            older = [path for path in paths if path.encode() <= settled.encode()]
        known |= self._of_round
        return (self._ledger.named(older) if older else {}) | {path: known[path] for path in paths if path in known}

    def _behind(self, name: bytes) -> dict[str, Taken]:
        if self._files is None or name < self._from:
            # A settled name may go back, to a file that came late and is too young still: what lies between is needed.
            self._files = {taken.path: taken for taken in self._ledger.after(name.decode())}
        elif name > self._from:
            self._files = {path: taken for path, taken in self._files.items() if path.encode() > name}
        self._from = name
        return self._files
