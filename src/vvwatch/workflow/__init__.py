"""What happens, one file a step: each step is resumable and has its effects under stored keys."""
