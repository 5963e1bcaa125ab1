"""What a manifest may say: YAML with places, fields and their checks, endpoints, prices."""
