"""The endpoints, one module per resource; each gives its routes to the application."""
