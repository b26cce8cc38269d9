"""What every judge of a model goes by: metrics, intervals, paired comparison, flips, agreement."""
