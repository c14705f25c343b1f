from concurrent.futures import ThreadPoolExecutor

import pytest

from metalingua.model.derivative import derivatives, order


def test_the_order_is_1_until_announced_and_again_afterwards():
    assert order() == 1
    with derivatives(2):
        assert order() == 2
        with derivatives(1):
            assert order() == 1
        assert order() == 2
    assert order() == 1


def test_an_error_inside_does_not_leave_the_order_behind():
    with pytest.raises(KeyError), derivatives(2):
        raise KeyError
    assert order() == 1


def test_threads_do_not_hear_each_other():
    def announced():
        with derivatives(2):
            return order()

    with ThreadPoolExecutor(1) as worker:
        assert worker.submit(announced).result() == 2
        assert worker.submit(order).result() == 1
        with derivatives(2):
            assert worker.submit(order).result() == 1
        announcement = derivatives(2)
        worker.submit(announcement.__enter__).result()
        assert worker.submit(order).result() == 2  # still inside, in that thread
        assert order() == 1
        worker.submit(announcement.__exit__, None, None, None).result()


@pytest.mark.parametrize("wrong", [0, 3, None])
def test_other_orders_are_refused(wrong):
    with pytest.raises(ValueError, match="1 .* or 2"), derivatives(wrong):
        pass
