"""All settings of the service and the console: what there is, how it is read, and what follows from it."""
