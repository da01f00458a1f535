"""The steps of the workflow, one file each: every step is resumable and has its effects under stored keys."""
