from pathlib import Path

from launched import run_ranks


def test_a_sequence_over_two_ranks_has_the_results_and_gradients_of_one_rank():
    run_ranks(2, Path(__file__).parents[1] / "helpers/parallel_ranks.py")
