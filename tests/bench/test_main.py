import pytest

from bench.__main__ import main


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["bounds", "--variants", "S/3"], "invalid choice: 'S/3'"),
        (["bounds", "--batches", "0"], "--batches: '0' is no whole number above 0"),
        (["service", "--connections", "8", "x"], "--connections: 'x' is no whole number above 0"),
        (["overload", "--factors", "nan"], "--factors: 'nan' is no number above 0, up to 100"),
        (["soak", "--minutes", "1.5"], "--minutes: '1.5' is no whole number above 0"),
        (["soak", "--minutes", "1"], "--minutes: the last minute is compared with the first"),
        (["unknown"], "invalid choice: 'unknown'"),
    ],
)
def test_a_wrong_option_is_named(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err
