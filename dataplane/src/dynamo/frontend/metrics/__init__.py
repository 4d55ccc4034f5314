"""What the frontend counts, and how Prometheus reads it. Counting is O(1) per event; text is made on scrape."""
