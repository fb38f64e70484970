"""An image: its layers and packages, what they weigh, and what it is built on."""
