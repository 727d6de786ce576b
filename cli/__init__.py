"""The command `entrepot`: one module per noun."""
