"""Speed, as ratios against peers and baselines run in turn with ours."""
