"""Work shared among threads that compute alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest
import torch

from hepgen.taggers.threads import map_in_threads


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_the_order_of_the_items() -> None:
    assert map_in_threads(lambda item: item**2, range(100)) == [i**2 for i in range(100)]


def test_each_thread_computes_with_one_and_the_caller_keeps_its_number() -> None:
    assert map_in_threads(lambda _: torch.get_num_threads(), range(8)) == [1] * 8
    assert torch.get_num_threads() == 2
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [2]


def test_no_gradient_is_recorded_inside() -> None:
    weight = torch.ones(3, requires_grad=True)
    assert not any(map_in_threads(lambda i: (weight * i).requires_grad, range(4)))
    assert not any(map_in_threads(lambda i: (weight * i).requires_grad, range(1)))


def test_inference_tensors_of_the_caller_can_be_written_inside() -> None:
    with torch.inference_mode():
        result = torch.zeros(4)
        map_in_threads(lambda i: result[i : i + 1].fill_(i), range(4))
    assert result.tolist() == [0, 1, 2, 3]


def test_the_first_error_comes_out() -> None:
    def work(item: int) -> int:
        return 10 // (item - 3)

    with pytest.raises(ZeroDivisionError):
        map_in_threads(work, range(8))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own() -> None:
    map_in_threads(lambda item: item, range(4))
    child = os.fork()
    if child == 0:
        # pytest has no business in the child.
        os._exit(0 if map_in_threads(lambda item: item, range(4)) == [0, 1, 2, 3] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
