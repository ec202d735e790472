"""Plain data of how well it held; its verdict, and how it is rendered."""
