"""Measurements, side by side with peers where there are any. Nothing here is imported by the product."""
