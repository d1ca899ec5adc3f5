import os

import pytest
from bench_common.priority import usual_priority


@pytest.mark.skipif(not hasattr(os, "sched_setscheduler"), reason="this system has no such priorities")
def test_what_is_made_real_time_is_usual_again():
    @usual_priority()
    def encode():
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        except PermissionError:
            pytest.skip("only root may do that")
        raise ValueError("an encoder that fails")

    with pytest.raises(ValueError):
        encode()
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
