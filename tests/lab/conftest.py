"""Fixtures of the lab. Needs root or unshare -Urnm (test.sh sees to it)."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import lan as lab  # noqa: E402


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture(scope="session", autouse=True)
def _privileges():
    if not lab.is_privileged():
        pytest.skip("no namespaces here: run as root, or under unshare -Urnm")


@pytest.fixture
def make_lan(request):
    """make_lan(...) = Lan(...), closed after the test; files are kept when it failed."""
    made = []

    def make(*args, **options):
        made.append(lab.Lan(*args, **options))
        return made[-1]

    yield make
    report = getattr(request.node, "report_call", None)
    complaints = lab.close_all(made, failed=report is None or report.failed)
    if complaints:
        pytest.fail("\n".join(complaints))


@pytest.fixture
def pair(make_lan):
    """Two hosts with daemons, no limit on the link."""
    return make_lan(2).start_daemons()
