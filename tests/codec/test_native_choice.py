"""Which codec is chosen, and what is said about it."""

import sys
from types import ModuleType

import pytest

from streamproc import native
from streamproc.version import installed


@pytest.fixture
def wheel(monkeypatch):
    """Install a wheel of some version, or none."""
    monkeypatch.delenv("STREAMPROC_NATIVE", raising=False)

    def install(version):
        monkeypatch.setitem(sys.modules, "streamproc_native", version and ModuleType("streamproc_native"))
        monkeypatch.setattr(native, "version", lambda _: version)

    return install


def test_the_wheel_of_this_version_is_used(wheel):
    wheel(installed())
    module, codec = native._choice()
    assert module is sys.modules["streamproc_native"]
    assert codec == ("native", f"streamproc-native {installed()} is installed")


def test_a_wheel_of_another_version_is_left_alone(wheel):
    """The two speak a language of their own, which may have changed."""
    wheel("0.0.1")
    assert native._choice() == (
        None,
        ("pure", f"streamproc-native 0.0.1 is installed, and does not fit streamproc {installed()}"),
    )


def test_without_a_wheel_the_pure_codec_works(wheel):
    wheel(None)
    assert native._choice() == (None, ("pure", "streamproc-native is not installed"))


def test_the_environment_switches_the_wheel_off(wheel, monkeypatch):
    wheel(installed())
    monkeypatch.setenv("STREAMPROC_NATIVE", "off")
    assert native._choice() == (None, ("pure", "STREAMPROC_NATIVE is off"))
