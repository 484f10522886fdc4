"""Looking back at recorded episodes: in the Rerun viewer, and by playing them again."""
