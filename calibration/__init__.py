"""Camera intrinsics, hand-eye, workspace and latencies: measured, checked, dated, on disk."""
