"""Running a cell over time, one scan kind to a file."""
