"""How models are judged, by bench, quantize and training alike: metrics, intervals, one model, two models compared."""
