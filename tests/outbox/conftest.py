import pytest

pytest.register_assert_rewrite("anytrack_async.testing")
