"""What operators run: flows, and the command line that starts them."""
