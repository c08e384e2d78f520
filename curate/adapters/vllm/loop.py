"""One event loop in one daemon thread per process, started at first use and anew after a fork."""

from __future__ import annotations

import asyncio
import os
import threading

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def event_loop() -> asyncio.AbstractEventLoop:
    """The running loop of this process; any thread may hand it work with `call_soon_threadsafe`."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="served-models", daemon=True).start()
        return _loop


def _forget() -> None:
    """In a child the thread is gone and the lock may be held by nobody."""
    global _lock, _loop
    _lock, _loop = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
