"""Dead letters: looking at them, and sending them back to where they came from. No record is decoded in here."""
