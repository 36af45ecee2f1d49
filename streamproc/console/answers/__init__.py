"""What the API answers and the pages show."""
