"""What a training run writes and shows: its folder, its paths, the terminal and TensorBoard."""
