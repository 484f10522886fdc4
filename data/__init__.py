"""Episodes on disk, and the training windows and batches made from them."""
