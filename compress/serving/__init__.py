"""The HTTP service for exported models that ``compress serve`` runs."""
