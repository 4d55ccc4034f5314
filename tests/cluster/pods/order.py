"""The order of this folder's test modules: the least-privilege test judges what all others did, so it comes last."""

ORDER = (
    "test_install",
    "test_first_light",
    "test_disruptions",
    "test_planner",
    "test_multinode",
    "test_scope",
    "test_rights",
)
