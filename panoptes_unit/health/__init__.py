"""What makes a unit whole, and what is wrong with it."""
