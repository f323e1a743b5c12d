"""Studies made with fedsim: configurations to run, and commands that write the tables published beside them."""
