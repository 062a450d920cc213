"""Ctrl-C and the batch system's SIGTERM, noted and acted on between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interruption"]


class Interruption:
    """Notes SIGINT and SIGTERM instead of letting them tear a step in two.

    After the first signal the handlers that were there before are back, so a second one acts at
    once. Outside the main thread, where Python allows no handlers, nothing is noted.

    Attributes:
        signal: number of the signal that came; 0 if none did.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        """Begin to listen."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Put the handlers back."""
        self._restore()

    def _restore(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            # A handler that C code set is not Python's to put back, and reads as None.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def act(self) -> None:
        """Do what the signal asks for, if there was one.

        Raises:
            KeyboardInterrupt: it was SIGINT.
            SystemExit: it was SIGTERM; the exit code is 143, as a shell reports it.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt
        if self.signal:
            raise SystemExit(128 + self.signal)
