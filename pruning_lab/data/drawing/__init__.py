"""What all drawn data sets share: paint, light and lens, and three splits of numbered pictures. Knows no scene."""
