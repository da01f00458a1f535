"""Each trap by which watchers of storage lose or double files, and the tests that hold it shut."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

TRAPS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: ("keys do not come in order", ("late_smaller_key_is_found",)),
    2: ("many objects have one second", ("1000_objects_one_second",)),
    3: ("an upload begins early and is visible late", ("old_lastmodified_new_object",)),
    4: ("old times are kept on arrival", ("rsync_dash_t",)),
    5: ("a key is overwritten", ("overwrite_while_processing",)),
    6: ("an event and a listing tell of the same", ("event_then_list_once",)),
    7: ("the same bytes come again", ("reupload_same_bytes",)),
    8: ("an object goes and comes back", ("delete_recreate_same_bytes",)),
    9: (
        "stores encode keys differently",
        ("keys_of_aws_are_decoded_as_a_form", "keys_of_other_stores_may_be_raw_or_encoded", "odd_keys"),
    ),
    10: ("markers of folders and empty files", ("zero_byte_marker",)),
    11: ("large uploads come in parts", ("complete_multipart_event",)),
    12: ("an object is archived", ("glacier_then_restored",)),
    13: ("versions and markers of deletion", ("noncurrent_version_event",)),
    14: ("clocks differ", ("skew_plus_minus_1h",)),
    15: ("events overtake each other", ("create_delete_swapped",)),
    16: ("events are lost", ("drop_10pct_events",)),
    17: ("a message comes again while its job runs", ("slow_job_no_redelivery",)),
    18: ("messages that tell nothing of ours", ("poison_matrix",)),
    19: ("an object is gone before it is fetched", ("delete_before_fetch",)),
    20: ("two sources share a database", ("two_sources_one_db",)),
    21: ("a broken listing looks like an empty one", ("unmount_mid_run",)),
    22: ("listing a large prefix costs", ("list_calls_budget",)),
    23: ("new prefixes appear", ("new_partition_appears",)),
    24: ("arrivals never pause", ("constant_arrivals_fires",)),
    25: ("a window outlives a restart and a leap of the clock", ("kill9_inside_window", "clock_jump")),
    26: (
        "two daemons watch one source",
        ("a_second_daemon_on_the_same_state_refuses", "kill_replicas_at_random"),
    ),
    27: ("a crash between any two steps", ("kill_at_every_commit_point", "kill_at_every_await")),
    28: ("the source is touched before the result is safe", ("power_loss_sim",)),
    29: ("inotify overflows", ("flood_320k",)),
    30: ("folders are made or moved in faster than they are watched", ("nest_2000", "mv_tree")),
    31: ("the budget of watches ends", ("max_watches_20",)),
    32: ("a name is no UTF-8", ("bad_name",)),
    33: ("links lead round in a circle", ("symlink_loop",)),
    34: ("a file is still being written", ("slow_writer_8s", "rsync_temp", "sparse_prealloc")),
    35: ("a file has its size before its content", ("fallocate_then_fill",)),
    36: ("names of unfinished uploads", ("rename_into_place",)),
    37: ("globs have dialects", ("glob_oracle",)),
    38: ("a filter is widened", ("filter_widened",)),
    39: ("folders that may not be read", ("eadir_eacces",)),
    40: ("our own output stands in the watched folder", ("export_into_source",)),
    41: ("a listing repeats and misses", ("list_mutating",)),
    42: ("names that look alike", ("nfd_nfc_pair",)),
}
"""By number: what happens, and what the names of its tests contain."""


def names() -> set[str]:
    """The functions that are tests, or that a test calls to check something."""
    return {
        node.name
        for path in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith(("test_", "check_"))
    }


@pytest.fixture(scope="module")
def tests() -> set[str]:
    return names()


def test_no_trap_is_left_out() -> None:
    assert list(TRAPS) == list(range(1, 43))


@pytest.mark.parametrize("number", TRAPS)
def test_the_trap_has_its_tests(number: int, tests: set[str]) -> None:
    what, parts = TRAPS[number]
    without = [part for part in parts if not any(part in name for name in tests)]
    assert without == [], f"no test of: {what}"
