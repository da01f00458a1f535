"""What a new operator found wrong on the second day while everything looked well, and the tests that hold it mended."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

FINDINGS: dict[int, tuple[str, tuple[str, ...]]] = {
    1: (
        "failures leave the list after 50 newer jobs",
        (
            "e2e/test_day_two.py::test_a_failure_stays_in_sight_and_an_emptied_inbox_may_be_believed",
            "api/routes/test_status.py::test_a_failure_stays_however_many_jobs_follow",
            "api/routes/test_status.py::test_failures_are_counted_over_everything",
        ),
    ),
    2: (
        "paused exports are invisible",
        (
            "api/routes/test_status.py::test_paused_exports_are_told_everywhere",
            "api/routes/test_status.py::test_the_explanation_says_that_exports_are_paused",
            "cli/test_commands.py::test_a_pause_of_exports_names_what_it_paused",
        ),
    ),
    3: (
        "a lost secret key is replaced in silence",
        (
            "e2e/test_day_two.py::test_a_lost_secret_key_is_not_replaced_in_silence",
            "store/admin/test_settings.py::test_only_the_first_start_stores_a_new_key",
        ),
    ),
    4: (
        "an emptied inbox is doubted for ever",
        (
            "workflow/watching/test_scanner.py::test_an_emptied_inbox_is_believed_after_three_scans_over_an_hour",
            "workflow/watching/test_scanner.py::test_a_person_may_say_that_what_is_missing_is_gone",
            "workflow/watching/test_scanner.py::test_a_mount_that_is_away_proves_nothing_however_long",
            "workflow/watching/test_scanner.py::test_delete_recreate_same_bytes",
            "api/routes/test_status.py::test_a_mass_loss_that_is_not_believed_is_told_with_the_line_to_type",
            "e2e/test_day_two.py::test_a_failure_stays_in_sight_and_an_emptied_inbox_may_be_believed",
        ),
    ),
    5: (
        "the log never names a failed file",
        ("e2e/test_day_two.py::test_the_log_names_each_failed_file_with_its_reason_and_job",),
    ),
    6: (
        "commands do not find the admin key that the daemon was given",
        (
            "cli/test_client.py::test_the_key_that_a_daemon_was_given_is_read_where_it_says",
            "cli/test_client.py::test_the_variable_that_a_daemon_got_its_key_from_is_named",
            "cli/test_client.py::test_a_key_in_a_file_goes_before_the_daemons_own",
            "e2e/test_day_two.py::test_commands_find_the_key_that_the_daemon_was_given_in_a_file",
        ),
    ),
    7: (
        "missing packages are good, and the hint does not work here",
        (
            "cli/test_check.py::test_packages_that_are_missing_are_problems_with_a_command_for_this_installation",
        ),
    ),
    8: (
        "a failing listing is tried and logged at full pace",
        (
            "workflow/watching/test_scanner.py::test_a_failing_listing_is_tried_at_growing_pauses",
            "test_telemetry.py::test_equal_troubles_of_a_task_are_logged_at_growing_intervals_and_another_at_once",
            "api/routes/test_status.py::test_a_failing_listing_says_since_when",
        ),
    ),
    9: (
        "a failed webhook shows no cause",
        (
            "api/routes/test_status.py::test_a_webhook_that_fails_says_why",
            "test_docs_failures.py::test_a_daemon_in_that_trouble_says_so",
        ),
    ),
    10: (
        "a pattern that matches nothing is silent",
        (
            "core/test_patterns.py::test_what_looks_like_a_regular_expression_is_told",
            "cli/test_check.py::test_a_regular_expression_in_place_of_a_glob_is_a_warning",
            "api/routes/test_status.py::test_what_matches_nothing_is_told",
        ),
    ),
    11: ("`dev` cannot do it again", ("cli/test_dev.py::test_a_fresh_start_does_again_what_was_done",)),
    12: (
        "commands miss a running `dev`",
        (
            "cli/test_client.py::test_a_trial_that_runs_is_found_where_no_daemon_does",
            "cli/test_commands.py::test_explain_finds_the_trial_that_watches_the_file",
            "cli/test_dev.py::test_commands_find_the_session_that_runs",
        ),
    ),
    13: (
        "an empty address of the database starts SQLite",
        ("config/test_config_loading.py::test_a_variable_that_is_set_and_empty_is_an_error",),
    ),
    14: (
        "a killed node vanishes without a word",
        (
            "store/admin/test_nodes.py::test_a_node_that_is_silent_for_its_heartbeat_is_missed_once_with_what_it_held",
            "crash/test_replicas.py::test_a_node_that_is_killed_is_missed_by_the_others_and_one_that_stops_is_not",
            "test_docs_failures.py::test_a_daemon_in_that_trouble_says_so",
        ),
    ),
    15: (
        "an export without room is no problem of anybody's",
        (
            "api/routes/test_status.py::test_an_export_that_waits_for_room_says_why_and_when_it_is_tried",
            "e2e/test_day_two.py::test_an_export_to_a_full_disk_is_told_with_its_folder",
        ),
    ),
    16: (
        "the status is untyped, and its moments are numbers",
        (
            "api/routes/test_status.py::test_every_moment_of_the_status_is_iso_8601_and_every_part_is_typed",
            "test_telemetry.py::test_moments_in_fields_are_iso_8601",
        ),
    ),
    17: (
        "messages do not say what to do",
        (
            "config/test_config_loading.py::test_a_secret_in_the_file_itself_is_told_where_to_go",
            "config/test_config_loading.py::test_a_list_of_globs_is_answered_with_the_one_that_means_it",
            "config/test_config_loading.py::test_an_address_in_place_of_a_name_says_what_to_leave_out",
            "config/test_config_loading.py::test_a_mistyped_table_has_its_line",
            "config/test_config_words.py::test_wrong_values_are_told_in_our_words",
            "cli/test_client.py::test_https_to_a_server_that_speaks_http_says_so",
            "cli/test_client.py::test_an_address_that_is_none_is_refused",
            "providers/local/test_files.py::test_a_write_that_fails_says_why_and_leaves_nothing",
            "e2e/test_day_two.py::test_an_export_to_a_full_disk_is_told_with_its_folder",
            "processors/test_isolation.py::test_a_program_that_may_not_be_executed_is_named",
        ),
    ),
    18: (
        "the terminal loses what matters",
        (
            "cli/test_live.py::test_a_small_terminal_shows_the_exports_and_how_to_stop_whatever_failed",
            "cli/test_live.py::test_the_view_has_a_screen_of_its_own_and_leaves_its_last_state",
            "cli/test_output.py::test_no_colour_takes_colours_away_and_not_the_view",
            "cli/test_narrow.py::test_every_list_fits_80_columns",
            "cli/test_plain.py::test_a_thousand_failures_leave_the_counts_on_the_screen",
            "cli/test_dev.py::test_programs_get_one_object_an_event",
        ),
    ),
    19: (
        "a daemon without a task is silently ready",
        ("daemon/test_idle.py::test_only_a_daemon_that_surely_watches_nothing_says_so",),
    ),
    20: (
        "shipped files name a type that is not supported",
        ("test_deployments.py::test_shipped_patterns_name_supported_types_alone",),
    ),
}
"""By number: what was wrong, and the tests that fail if it comes back."""


@cache
def functions_in(file: str) -> frozenset[str]:
    found = ast.walk(ast.parse((TESTS / file).read_text(encoding="utf-8")))
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in found if isinstance(node, kinds))


@pytest.mark.parametrize("number", FINDINGS)
def test_each_finding_is_a_test(number: int) -> None:
    _, names = FINDINGS[number]
    assert names
    places = [each.split("::") for each in names]
    assert [test for file, test in places if test not in functions_in(file)] == []


def test_no_finding_is_left_out() -> None:
    assert list(FINDINGS) == list(range(1, 21))
