import pytest

pytest.register_assert_rewrite("tests.helpers")  # so that their failures show values, too
