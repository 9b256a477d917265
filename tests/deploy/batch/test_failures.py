from deploy.batch.failures import reason


def test_the_last_exception_is_the_reason() -> None:
    traceback = (
        "The actor died because of an error raised in its creation task, ray::W.__init__()\n"
        '  File "worker.py", line 7, in __init__\n'
        "    raise First\n"
        "a.b.First: one\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        '  File "worker.py", line 9, in __init__\n'
        "a.Second: two: three\n"
    )
    assert reason(traceback) == "a.Second: two: three"


def test_what_ray_adds_is_left_out_unless_it_is_all() -> None:
    rays = "ray.exceptions.UserCodeException: UDF failed to process a data block."
    assert reason(f"  File x\nmine.Error: no\n\nAbove:\n\n{rays}\n") == "mine.Error: no"
    assert reason(f"  File x\n{rays}\n") == rays


def test_a_text_without_an_exception_is_told_by_its_last_line() -> None:
    assert reason("The actor died.\nIts node is gone.\n") == "Its node is gone."
