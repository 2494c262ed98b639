"""What the notebooks in `samples/` show, a module for each: pictures and tables."""
