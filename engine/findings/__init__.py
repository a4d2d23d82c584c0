"""What the numbers of a sweep say: claims judged over the seeds, figures with their intervals."""
