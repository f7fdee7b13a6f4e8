"""Work that threads do ahead of what uses it."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def default_workers() -> int:
    """Threads that prepare batches while the network works."""
    # Keras uses threads from two on.
    return max(2, (os.cpu_count() or 1) - 1)


def prefetch(function: Callable[[T], R], items: Iterable[T], workers: int = 1) -> Generator[R]:
    """Apply `function` to each item in threads, ahead of what uses the results; keeps the order.

    Parameters
    ----------
    function : callable
    items : iterable
        Taken one by one, two for each worker ahead: it may have no end.
    workers : int

    Notes
    -----
    Closing the generator waits for what is being done and drops the rest.
    """
    waiting: deque[Future[R]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
