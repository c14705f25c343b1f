"""What is to be learned: tasks, what they must not share, and episodes drawn from them."""
