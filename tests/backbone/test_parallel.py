from pathlib import Path

from launched import run_ranks


def test_two_ranks_have_the_results_and_gradients_of_one_also_where_one_has_no_targets_or_no_actions():
    run_ranks(2, Path(__file__).parents[1] / "helpers/parallel_ranks.py")
