import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--pictures", default="data/cifar10", help="sheets of CIFAR-10, for `make batch-test`"
    )
