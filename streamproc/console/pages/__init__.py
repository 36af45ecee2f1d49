"""The console's pages: HTML made here, one style sheet, one script; nothing is loaded from elsewhere."""
