"""The console: what the output topics tell, in a read model, behind an API and pages. It only reads."""
