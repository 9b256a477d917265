"""Settings: environment and options, and one clear line for a wrong value."""

import pytest

from service.settings import InvalidSetting, Settings, environment_name, load_settings


def test_every_setting_says_why_it_exists() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXER_PORT", "9000")
    monkeypatch.setenv("MIXER_MODELS", "b16, cifar10@2,")
    monkeypatch.setenv("MIXER_BUCKETS", "1,8,64")
    settings = load_settings({})
    assert settings.port == 9000
    assert settings.models == ("b16", "cifar10@2")
    assert settings.buckets == (1, 8, 64)


def test_options_win_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXER_PORT", "9000")
    assert load_settings({"port": "9001"}).port == 9001


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("port", "99999", "less than or equal to 65535"),
        ("port", "http", "valid integer"),
        ("admin_port", "-1", "greater than or equal to 0"),
        ("buckets", "8,4", "ascending positive batch sizes"),
        ("buckets", "0,1", "ascending positive batch sizes"),
        ("max_images", "0", "greater than 0"),
        ("log_level", "loud", "'debug', 'info', 'warning' or 'error'"),
    ],
)
def test_a_wrong_value_gives_one_line_with_name_value_and_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    monkeypatch.setenv(environment_name(name), value)
    with pytest.raises(InvalidSetting) as refusal:
        load_settings({})
    message = str(refusal.value)
    assert message.startswith(f"MIXER_{name.upper()}=")
    assert rule in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "given",
    [
        {"models": ""},
        {"max_images": 300, "max_queue_images": 200},
        {"admin_port": 8001, "port": 8001},
    ],
)
def test_settings_that_do_not_fit_together_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(InvalidSetting, match=next(iter(given))):
        load_settings(given)


def test_several_front_ends_need_memory_that_processes_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("service.settings.SHARES_MEMORY", False)
    with pytest.raises(InvalidSetting, match="frontends 2: more than 1 need Linux"):
        load_settings({"frontends": 2})
    assert load_settings({"frontends": 1}).frontends == 1


@pytest.mark.parametrize("precision", ["int8", "one=int8,two=float32"])
def test_int8_is_refused_for_xla(precision: str) -> None:
    with pytest.raises(InvalidSetting, match="runtime xla: precision int8 needs openvino"):
        load_settings({"runtime": "xla", "precision": precision})
    assert load_settings({"precision": precision}).precision_of("one") == "int8"


@pytest.mark.parametrize("name", ["admin_port", "api_keys_file", "compile_cache_dir"])
def test_an_empty_value_is_none_where_none_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A template that leaves a variable empty means that it is unset."""
    monkeypatch.setenv(environment_name(name), "")
    assert getattr(load_settings({}), name) is None


def test_the_system_may_choose_both_ports() -> None:
    assert load_settings({"admin_port": 0, "port": 0}).admin_port == 0


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings({}).port = 1  # type: ignore[misc]
