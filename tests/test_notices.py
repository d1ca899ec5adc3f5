import logging

from vgen import notices


def test_a_warning_is_given_once_until_it_is_forgotten(caplog):
    one, other = logging.getLogger("vgen.one"), logging.getLogger("vgen.other")
    for _ in range(2):
        notices.warn_once(one, "it is 100% so")
    notices.warn_once(one, "otherwise")
    notices.warn_once(other, "it is 100% so")
    assert caplog.messages == ["it is 100% so", "otherwise", "it is 100% so"]
    notices.forget()
    notices.warn_once(one, "otherwise")
    assert caplog.messages[-1] == "otherwise" and len(caplog.messages) == 4
