"""auto: the search for the best model that meets a user's goals, from everything that the steps can make."""
