"""Recipes: what they are, and the loop that runs them."""
