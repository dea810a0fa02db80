"""What the tests of whole processes compare with: an extraction that nothing disturbed."""

from __future__ import annotations

import pytest
from small_network import Undisturbed, make_undisturbed


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return make_undisturbed(tmp_path_factory.mktemp("undisturbed"))
