"""Time and memory of steps, epochs, reading and ranking: one module for each part, and what they share."""
