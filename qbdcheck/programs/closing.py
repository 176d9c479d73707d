"""The base of programs that are closed when all went well, and abandoned after an exception."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class CloseOrAbandon(ABC):
    """A context manager that calls `close` at its end, or `abandon` if an exception leaves it."""

    @abstractmethod
    def close(self) -> None:
        """End the program in an orderly way. May raise if the program fails at its end."""

    @abstractmethod
    def abandon(self) -> None:
        """Kill the program. Never raises."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()
