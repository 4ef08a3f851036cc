"""What is proved about the weights of a file: passes, planted mistakes, diagnoses, tolerances."""
