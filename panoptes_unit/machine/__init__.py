"""The machine that a unit is: what it has, what it lacks, its files, its board, its backup."""
