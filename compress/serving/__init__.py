"""An HTTP service around exported models: what ``compress serve`` runs."""
